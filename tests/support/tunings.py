"""The configuration of a small tuning."""

from typing import Any

SWEEP: dict[str, Any] = {
    "n_trials": 6,
    "space": {},
    "metrics": None,
    "tune_seed": 0,
    "tune_replicates": 1,
    "sampler_seed": 3,
    "sampler": "tpe",
    "samplers": {},
    "pruner": "none",
    "pruners": {},
    "study": None,
    "storage": None,
    "batch": None,
}
