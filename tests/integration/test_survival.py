"""A small sample of the kill matrix, of the race and of killed evaluations, and a larger one (slow).

Their files run the whole of them.
"""

import random
from pathlib import Path

import pytest

from tests.integration.evaluation_kills import EvaluationKills
from tests.integration.kill_matrix import Matrix
from tests.integration.race import Race


def test_a_trial_that_is_killed_three_times_ends_as_if_nobody_had_killed_it(tmp_path: Path) -> None:
    matrix = Matrix(tmp_path, random.Random(1))
    matrix.run(3)
    assert matrix.differences == []
    assert sum(matrix.kills.values()) == 3
    assert matrix.torn >= 1


@pytest.mark.slow
def test_a_trial_that_is_killed_at_any_place_ends_as_if_nobody_had_killed_it(tmp_path: Path) -> None:
    matrix = Matrix(tmp_path, random.Random(1))
    matrix.run(17)
    assert matrix.differences == []
    assert sum(matrix.kills.values()) == 17
    assert len(matrix.kills) >= 16, "every place is hit"
    assert matrix.by_process["worker"] >= 10
    assert matrix.by_process["supervisor"] >= 3


@pytest.mark.parametrize(("processes", "cells", "kills"), [(2, 3, 1), pytest.param(3, 6, 3, marks=pytest.mark.slow)])
def test_commands_beside_each_other_finish_each_cell_once(
    tmp_path: Path, processes: int, cells: int, kills: int
) -> None:
    race = Race(tmp_path, cells, random.Random(1))
    race.run(processes=processes, kills=kills, limit_seconds=240)
    assert race.problems() == []
    assert race.killed_commands >= 1
    assert race.died() >= 1
    codes = [one.returncode for one in race.commands]
    # A command whose trial's process was killed does not try it again; it fails if no other has taken it up yet.
    assert codes.count(0) + codes.count(1) == processes
    assert codes.count(1) <= race.killed_trials


@pytest.mark.parametrize(("kills", "samples"), [(3, 4), pytest.param(20, 12, marks=pytest.mark.slow)])
def test_an_evaluation_that_is_killed_ends_as_if_nobody_had_killed_it(tmp_path: Path, kills: int, samples: int) -> None:
    evaluation = EvaluationKills(tmp_path, random.Random(1), samples)
    evaluation.run(kills)
    assert evaluation.problems == []
    assert sum(evaluation.kills.values()) == kills
