"""What a scenario takes: trials in order, the topology of each, and what of it this host has."""
