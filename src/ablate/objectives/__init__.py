"""What a row asks of the model: tasks, their noise, and infill. Pure numpy; every draw has its rng as an argument."""
