"""Runs programs that a model wrote, and lets them do no harm. `docs/sandbox.md` says how far each level holds."""
