"""What this machine has, what a run would use of it and why, and whether that works."""
