"""From raw text to documents: read, clean, split, merge."""
