"""Jobs as arrays of Slurm: options, the script, the queue, and the launcher."""
