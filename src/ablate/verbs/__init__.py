"""The command line: a module per verb, as `ablate.verbs.table` describes."""
