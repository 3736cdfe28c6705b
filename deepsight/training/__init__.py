"""The training loop and what it needs: optimiser, checkpoint, metrics."""
