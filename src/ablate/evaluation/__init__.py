"""How trained models are scored: suites, each with its own id. Importing the package registers the built-in ones."""

from ablate.evaluation.suites import bits_per_byte, humaneval, humaneval_infill, infill, mbpp

__all__ = ["bits_per_byte", "humaneval", "humaneval_infill", "infill", "mbpp"]
