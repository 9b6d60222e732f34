"""The Docker engine: find or start it, call it with deadlines, build its images without a registry."""
