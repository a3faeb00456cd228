"""The weights of a trained trial, read from its folder."""

from pathlib import Path

import pytest
import torch

from ablate.errors import FailureError
from ablate.training.weights import trained_weights


@pytest.mark.parametrize("is_mapped", [False, True])
def test_damaged_weights_are_told_with_what_to_do(tmp_path: Path, is_mapped: bool) -> None:
    path = tmp_path / "model.pt"
    torch.save({"a": torch.arange(100.0)}, path)
    assert trained_weights(path, mmap=is_mapped)["a"].sum() == 4950
    whole = path.read_bytes()
    for content in (b"", b"no weights", whole[:-30]):
        path.write_bytes(content)
        with pytest.raises(FailureError, match=r"model\.pt is missing or damaged\. Delete the trial's folder and run"):
            trained_weights(path, mmap=is_mapped)
    path.unlink()
    with pytest.raises(FailureError, match="is missing or damaged"):
        trained_weights(path, mmap=is_mapped)
