"""A grid: expanded from one command, frozen, skipped where finished, launched, watched, and ended in a lesson."""
