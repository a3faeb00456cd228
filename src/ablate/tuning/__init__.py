"""Sweeps: each arm of a grid is tuned by a study of Optuna's before it is compared."""
