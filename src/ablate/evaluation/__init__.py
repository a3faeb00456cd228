"""How trained models are scored: suites, each with its own id. Importing the package registers the built-in ones."""

from ablate.evaluation.suites import (
    bits_per_byte,
    boolq,
    defect_detection,
    humaneval,
    humaneval_infill,
    infill,
    lambada,
    lm_eval,
    mbpp,
    piqa,
    xsum,
)

__all__ = [
    "bits_per_byte",
    "boolq",
    "defect_detection",
    "humaneval",
    "humaneval_infill",
    "infill",
    "lambada",
    "lm_eval",
    "mbpp",
    "piqa",
    "xsum",
]
