"""What is measured on held-out tokens."""
