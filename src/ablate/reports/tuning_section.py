"""The page's section about a tuning: its best candidates, and Optuna's figures of each arm's study."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna

from ablate.records.tuning import TuningRecord
from ablate.reports.inline_svg import OF_STUDIES, inline_svg
from ablate.reports.study_figures import study_figures

# Rows of a Pareto front.
MAX_BEST = 20


@dataclass(frozen=True)
class TuningStudies:
    """A tuning's record, and its studies by arm, as far as they can be read."""

    record: TuningRecord
    studies: Mapping[str, optuna.Study]


def tuning_section(tuning: TuningStudies, anchor: str) -> dict[str, Any]:
    """The template's values of one tuning."""
    settings, figures = tuning.record.settings, []
    for place, (arm, study) in enumerate(tuning.studies.items()):
        for number, (title, figure) in enumerate(study_figures(study, settings.metrics)):
            about = arm if len(tuning.studies) > 1 else ""
            svg = inline_svg(figure, f"{anchor}-{place}-{number}", OF_STUDIES, bbox_inches="tight")
            figures.append({"title": title, "about": about, **svg})
    keys = list(dict.fromkeys(key for study in tuning.studies.values() for key in _tuned_keys(study)))
    rows = [row for arm, study in tuning.studies.items() for row in _best_rows(arm, study, keys)]
    return {
        "anchor": anchor,
        "sweep_id": tuning.record.tuning_id,
        "command": tuning.record.command,
        "tuned": ", ".join(settings.space),
        "metrics": ", ".join(settings.metrics),
        "n_trials": settings.n_trials,
        "sampler": settings.sampler,
        "pruner": settings.pruner,
        "storage": tuning.record.storage,
        "best": [["arm", *keys, *settings.metrics, "trial", "trained", "pruned", "failed"], *rows] if rows else [],
        "figures": figures,
    }


def _tuned_keys(study: optuna.Study) -> Iterator[str]:
    for candidate in study.get_trials(deepcopy=False):
        yield from candidate.user_attrs.get("values", {})


def _best_rows(arm: str, study: optuna.Study, keys: Sequence[str]) -> Iterator[list[str]]:
    """One row per best candidate; with several metrics there are several."""
    states = [candidate.state.name for candidate in study.get_trials(deepcopy=False)]
    counts = [str(states.count(state)) for state in ("COMPLETE", "PRUNED", "FAIL")]
    best = sorted(study.best_trials, key=lambda candidate: candidate.values) if "COMPLETE" in states else []
    for place, candidate in enumerate(best[:MAX_BEST]):
        tuned = candidate.user_attrs.get("values", {})
        values = (tuned.get(key, "") for key in keys)
        yield [
            arm if place == 0 else "",
            *(f"{value:g}" if isinstance(value, float) else str(value) for value in values),
            *(f"{value:.5g}" for value in candidate.values),
            str(candidate.user_attrs.get("trial_id", "")),
            *(counts if place == 0 else [""] * len(counts)),
        ]
