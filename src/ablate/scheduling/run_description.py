"""What a trial's W&B run is called, and what it can be found and grouped by."""

import json
from collections.abc import Mapping
from typing import Any

from ablate.config.parse import trial_to_container
from ablate.config.trial import TrialConfig
from ablate.errors import LedgerError
from ablate.identity import kind_of_key
from ablate.records.grid import GridRecord
from ablate.records.ledger import Ledger, TrialFolder
from ablate.records.trial import TrialRecord
from ablate.records.wandb.writer import RunDescription

SEED = "seed"


def describe_run(folder: TrialFolder, trial: TrialConfig) -> RunDescription:
    """Describe a trial by the grid or tuning that froze it. Its record has the provenance of the newest attempt."""
    record = folder.record()
    ledger = Ledger(folder.path.parent)
    grid = _first_grid(ledger, record)
    labels = [arm.label for arm in grid.arms if record.trial_id in arm.trials.values()] if grid else []
    seed = record.options.get(SEED)
    swept = tuple(f"{key}={value}" for key, value in record.options.items() if key != SEED)
    label = labels[0] if labels else " ".join(swept) or record.trial_id
    return RunDescription(
        name=label if seed is None else f"{label}, seed {seed}",
        group=_group(ledger, record, grid),
        tags=swept,
        config={
            **_semantic_tree(trial),
            "arm": label,
            "seed": seed,
            "lesson": grid and grid.declaration.name,
            "commit": record.provenance and record.provenance.git_commit,
            "ablate": {
                **{key: getattr(record, key) for key in ("options", "choices", "first_grid")},
                # The readers' copy: W&B turns 1.0 into 1.
                "semantic": json.dumps(record.semantic),
            },
        },
        notes=grid.declaration.question if grid else None,
    )


def _first_grid(ledger: Ledger, record: TrialRecord) -> GridRecord | None:
    """Return the grid that froze a trial; None for a candidate of a tuning, and where the grid's record is damaged."""
    try:
        return ledger.grid(record.first_grid) if record.first_grid else None
    except (FileNotFoundError, LedgerError):
        return None


def _group(ledger: Ledger, record: TrialRecord, grid: GridRecord | None) -> str | None:
    if grid is not None:
        return grid.declaration.name or f"{grid.title} ({grid.grid_id})"
    is_candidate = record.first_grid is not None and ledger.tuning_path(record.first_grid).exists()
    return f"tuning {record.first_grid}" if is_candidate else record.first_grid


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
