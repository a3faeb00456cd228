"""One trial: its module, optimizer, schedule and log, built from a typed config and run by Lightning."""
