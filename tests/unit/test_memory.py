from pathlib import Path

import psutil
import pytest

from ablate.training import memory


@pytest.mark.parametrize(
    ("own", "files", "left"),
    [
        ("0::/job/step/task\n", {"job/memory.max": 1000, "job/memory.current": 400}, 600),
        ("0::/task\n", {"task/memory.max": "max", "task/memory.current": 400}, None),
        (
            "4:memory:/job\n0::/\n",
            {"memory/job/memory.limit_in_bytes": 900, "memory/job/memory.usage_in_bytes": 1},
            899,
        ),
        ("7:cpu,cpuacct:/x\n", {"x/memory.max": 5, "x/memory.current": 1}, None),
    ],
)
def test_a_limit_of_a_group_or_of_one_above_it_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: str, files: dict[str, object], left: int | None
) -> None:
    (tmp_path / "own").write_text(own)
    for name, number in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{number}\n")
    monkeypatch.setattr(memory, "CGROUPS", tmp_path)
    monkeypatch.setattr(memory, "OWN", tmp_path / "own")
    free = psutil.virtual_memory().available
    assert memory.available_bytes() == (left if left is not None else pytest.approx(free, rel=0.2))
