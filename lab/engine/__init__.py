"""The Docker engine: found or started, spoken to with deadlines, its images built without a registry."""
