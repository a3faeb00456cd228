"""Weights & Biases: the writer for trials, the readers for lessons, the dashboard."""
