"""Training objectives: tasks, noise and infill. Pure numpy; every random draw takes its generator as an argument."""
