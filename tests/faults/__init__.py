"""What may go wrong while a study runs, done on purpose. `make torture` does more of it, for longer."""
