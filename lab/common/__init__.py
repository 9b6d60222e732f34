"""What every room may use: errors, clock, units, locks, paths. It imports no other room."""
