"""HumanEval (Chen et al. 2021): functions that a model writes after their signature and docstring.

`humaneval_bpb` is the one that tells small models apart, whose programs never pass.
"""

from ablate.evaluation.problems import humaneval as read
from ablate.evaluation.programming_suite import bits_metric, passing, programming_suite

# What begins the next thing in a file; the first five are those of Chen et al. 2021.
STOPS = ("\nclass", "\ndef", "\n#", "\nif", "\nprint", "\n@", "\nimport", "\nfrom", "\nassert", '\n"""', "\n'''")

humaneval = programming_suite(
    "humaneval",
    "Score the functions that a model writes after signature and docstring, and the reference solutions.",
    read,
    (
        bits_metric(
            "humaneval_bpb", "bits per byte of HumanEval's reference solutions, given signature and docstring."
        ),
        *passing("humaneval", "a HumanEval problem"),
    ),
    stop_strings=STOPS,
)
