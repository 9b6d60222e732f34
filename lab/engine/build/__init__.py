"""Build the lab's images: the base, the wheels installed on the host, the context, the build."""
