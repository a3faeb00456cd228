"""Hydra finds plugins by their place; all the work is in `ablate.grid`."""
