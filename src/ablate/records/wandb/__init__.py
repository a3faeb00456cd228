"""W&B: what trials write to it and what lessons read from it."""
