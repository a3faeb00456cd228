"""How trained models are scored: the same bytes for every arm."""
