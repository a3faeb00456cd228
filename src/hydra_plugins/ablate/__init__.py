"""Hydra finds plugins in this namespace package. They delegate to `ablate.grid` and `ablate.tuning`."""
