"""What is kept of a run: records, the results folder, and what is done with stored runs."""
