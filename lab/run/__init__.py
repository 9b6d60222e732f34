"""The story of a run: what is started, measured and recorded, and what is held up to play with by hand."""
