"""Training objectives: tasks, noise and infill. Pure numpy; every random draw takes its generator as an argument.

An objective decides what a row holds, which of its positions have loss, and which spans are bidirectional. The loss of
a position is always cross-entropy (`ablate.model.loss`). A new mix of what is here is a YAML file in conf/objective, a
new transformation of rows a function in `tasks`, a new way to choose spans one in `noise`.
"""
