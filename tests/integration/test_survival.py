"""A sample of the kill matrix and of the race; the whole of both is run by their files."""

import random
from pathlib import Path

from tests.integration.kill_matrix import Matrix
from tests.integration.race import Race


def test_a_killed_trial_ends_as_if_nobody_had_killed_it(tmp_path: Path) -> None:
    matrix = Matrix(tmp_path, random.Random(1))
    matrix.run(17)
    assert matrix.differences == []
    assert sum(matrix.kills.values()) == 17
    assert len(matrix.kills) >= 16, "every place is hit"
    assert matrix.by_process["worker"] >= 10
    assert matrix.by_process["supervisor"] >= 3


def test_commands_beside_each_other_finish_each_cell_once(tmp_path: Path) -> None:
    race = Race(tmp_path, 6, random.Random(1))
    race.run(processes=3, kills=3, limit_seconds=240)
    assert race.problems() == []
    codes = [one.returncode for one in race.commands]
    # A command whose trial's process was killed does not try it again; it fails if no other has taken it up yet.
    assert codes.count(0) + codes.count(1) == 3
    assert codes.count(1) <= race.killed_trials
