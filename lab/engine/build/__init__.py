"""How the lab's images come about: the base, the wheels laid out on the host, the context, the build."""
