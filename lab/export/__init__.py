"""A scenario in the formats of other tools: a Compose file, a Mermaid diagram, a CI matrix. Pure."""
