"""What nodes ask of the kernel they run on; shared by the swarm and the nettools."""
