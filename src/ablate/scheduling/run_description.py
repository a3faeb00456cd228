"""What a trial's W&B run is called, and what it can be found and grouped by."""

import json
from collections.abc import Mapping
from typing import Any

from ablate.config.parse import trial_to_container
from ablate.config.trial import TrialConfig
from ablate.errors import LedgerError
from ablate.identity import kind_of_key
from ablate.records.ledger import Ledger, TrialFolder
from ablate.records.trial import TrialRecord
from ablate.records.wandb.writer import RunDescription

SEED = "seed"


def describe_run(folder: TrialFolder, trial: TrialConfig) -> RunDescription:
    """Describe a trial by the grid or tuning that froze it. Its record has the provenance of the newest attempt."""
    record = folder.record()
    label, group, lesson = _origin(Ledger(folder.path.parent), record)
    seed = record.options.get(SEED)
    swept = {key: value for key, value in record.options.items() if key != SEED}
    return RunDescription(
        name=label if seed is None else f"{label}, seed {seed}",
        group=group,
        tags=tuple(f"{key}={value}" for key, value in swept.items()),
        config={
            **_semantic_tree(trial),
            "arm": label,
            "seed": seed,
            "lesson": lesson,
            "commit": record.provenance and record.provenance.git_commit,
            "ablate": {
                **{key: getattr(record, key) for key in ("options", "choices", "first_grid")},
                # The readers' copy: W&B turns 1.0 into 1.
                "semantic": json.dumps(record.semantic),
            },
        },
    )


def _origin(ledger: Ledger, record: TrialRecord) -> tuple[str, str | None, str | None]:
    """Return the arm's label, the run's group, and the lesson's name."""
    label = " ".join(f"{key}={value}" for key, value in record.options.items() if key != SEED) or record.trial_id
    if record.first_grid is None:
        return label, None, None
    try:
        grid = ledger.grid(record.first_grid)
    except (FileNotFoundError, LedgerError):
        # A candidate, as the grid of the tuned arms comes later; or the grid's record is damaged.
        is_tuning = ledger.tuning_path(record.first_grid).exists()
        return label, f"tuning {record.first_grid}" if is_tuning else record.first_grid, None
    labels = [arm.label for arm in grid.arms if record.trial_id in arm.trials.values()]
    name = grid.declaration.name
    return (labels or [label])[0], name or f"{grid.title} ({grid.grid_id})", name


def _semantic_tree(trial: TrialConfig) -> dict[str, Any]:
    """Return the semantic fields as nested mappings: W&B cannot group by a value inside a list."""
    tree = _kept(trial_to_container(trial))
    # Paths, which say nothing about the text: `corpus.manifest_sha256` does.
    del tree["corpus"]["sources"]
    tree["mixture"]["stages"] = {
        f"from {stage['from_fraction']:g}": stage["weights"] for stage in tree["mixture"]["stages"]
    }
    return tree


def _kept(container: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Drop operational and evaluation fields."""
    return {
        key: _kept(value, f"{prefix}{key}.") if isinstance(value, dict) else value
        for key, value in container.items()
        if kind_of_key(f"{prefix}{key}") is None
    }
