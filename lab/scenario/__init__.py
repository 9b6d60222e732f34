"""What is asked: the YAML, its values with their units and positions, and where each value came from."""
