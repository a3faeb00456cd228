"""Optuna's storages and studies."""
