"""Launchers: where jobs run."""
