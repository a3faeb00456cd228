"""Measure lessons' error rate on simulated grids (docs/statistics.md).

    python bench/calibration.py [--grids 2000] [--power]

As in a command, each grid has looks until no comparison is undecided or no look is left. A grid is wrong if any of
its comparisons is. Critical values and standard errors are computed as in lessons, for all grids at once; some grids of
each row also go through `compare` and `verdict`, with the same result.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ablate.lessons.contrast import against_baseline
from ablate.lessons.critical_values import critical_values, standard_errors
from ablate.lessons.estimate import compare
from ablate.lessons.verdict import Verdict, verdict

Noise = Callable[[np.random.Generator, int, int], NDArray[np.float64]]


def scaled(*noises: float) -> Noise:
    """Return normal noise. The first arms have these standard deviations, the others 1."""

    def draw(rng: np.random.Generator, arms: int, seeds: int) -> NDArray[np.float64]:
        scale = np.ones(arms)
        scale[: len(noises)] = noises
        noise: NDArray[np.float64] = rng.normal(size=(arms, seeds)) * scale[:, None]
        return noise

    return draw


def heavy(rng: np.random.Generator, arms: int, seeds: int) -> NDArray[np.float64]:
    """Student's t with 3 degrees of freedom, at a standard deviation of 1."""
    return rng.standard_t(3, size=(arms, seeds)) / 3**0.5


def skewed(rng: np.random.Generator, arms: int, seeds: int) -> NDArray[np.float64]:
    """Log-normal, at a standard deviation of 1: a few trials are much worse than the others."""
    drawn = rng.lognormal(sigma=0.75, size=(arms, seeds))
    mean, square = np.exp(0.75**2 / 2), np.exp(0.75**2) - 1
    noise: NDArray[np.float64] = (drawn - mean) / (mean * square**0.5)
    return noise


NOISES: dict[str, Noise] = {
    "normal, equal": scaled(),
    "baseline 1.5× as noisy": scaled(1.5),
    "baseline 2× as noisy": scaled(2),
    "baseline 3× as noisy": scaled(3),
    "another arm 2× as noisy": scaled(1, 2),
    "another arm 3× as noisy": scaled(1, 3),
    "heavy tails (t, 3)": heavy,
    "skewed (log-normal)": skewed,
}
LOOKS: dict[str, tuple[int, ...]] = {"3": (3,), "5": (5,), "8": (8,), "3, 5, 8": (3, 5, 8), "5, 8, 12": (5, 8, 12)}
ARMS = (3, 6)
# The smallest effect and the seeds' effect in standard deviations of a trial, as in the proxy runs (docs/lessons.md).
SMALLEST_EFFECT = 4.0
SEED_NOISE = 1.5
# Grids of each row that also go through `compare`.
CHECKED = 10


@dataclass(frozen=True)
class Ended:
    """The last look of each grid; shapes `N` grids, `C` comparisons."""

    low_NC: NDArray[np.float64]
    high_NC: NDArray[np.float64]
    seeds_N: NDArray[np.int64]

    def covers(self, truth: float) -> NDArray[np.bool_]:
        """Whether all intervals contain the true difference."""
        return np.asarray(((self.low_NC <= truth) & (truth <= self.high_NC)).all(axis=1))

    def equivalent(self) -> NDArray[np.bool_]:
        """Whether any comparison is equivalent."""
        return np.asarray(_equivalent(self.low_NC, self.high_NC).any(axis=1))


def _equivalent(low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.bool_]:
    is_equivalent: NDArray[np.bool_] = (low > -SMALLEST_EFFECT) & (high < SMALLEST_EFFECT)
    return is_equivalent


def grids(noise: Noise, arms: int, looks: tuple[int, ...], effect: float, count: int) -> Ended:
    """Simulate `count` grids whose other arms differ from the baseline by `effect`."""
    rng = np.random.default_rng([arms, *looks])
    values_NAS = np.stack([noise(rng, arms, looks[-1]) for _ in range(count)])
    values_NAS += rng.normal(scale=SEED_NOISE, size=(count, 1, looks[-1]))
    values_NAS[:, 1:] += effect
    weights_CA = np.hstack([-np.ones((arms - 1, 1)), np.eye(arms - 1)])
    sizes_C = np.full(arms - 1, 2**0.5)
    critical = critical_values(tuple(map(tuple, weights_CA.tolist())), looks, 0.05)
    low_NC, high_NC = np.empty((2, count, arms - 1))
    seeds_N, open_N = np.zeros(count, np.int64), np.ones(count, bool)
    for of_look, seeds in zip(critical, looks, strict=True):
        mean_NC, error_NC = standard_errors(weights_CA @ values_NAS[:, :, :seeds], sizes_C)
        reach_NC = of_look.value * error_NC
        low_NC[open_N], high_NC[open_N] = (mean_NC - reach_NC)[open_N], (mean_NC + reach_NC)[open_N]
        seeds_N[open_N] = seeds
        undecided_NC = (low_NC <= 0) & (high_NC >= 0) & ~_equivalent(low_NC, high_NC)
        open_N &= undecided_NC.any(axis=1)
    ended = Ended(low_NC, high_NC, seeds_N)
    _check(ended, values_NAS, looks)
    return ended


def _check(ended: Ended, values_NAS: NDArray[np.float64], looks: tuple[int, ...]) -> None:
    """Check the first grids with the code of real lessons."""
    labels = [f"arm{number}" for number in range(values_NAS.shape[1])]
    contrasts = list(against_baseline(labels, labels[0], "m"))
    for place in range(CHECKED):
        for seeds in looks:
            values = pd.DataFrame(values_NAS[place, :, :seeds], index=labels)
            comparisons = compare(values, contrasts, 0.95, looks).comparisons
            verdicts = [verdict(comparison, SMALLEST_EFFECT, less_is_better=True) for comparison in comparisons]
            if Verdict.UNDECIDED not in verdicts:
                break
        assert seeds == ended.seeds_N[place]
        lows = [comparison.low for comparison in comparisons if comparison.low is not None]
        assert np.allclose(lows, ended.low_NC[place])


def calibration(count: int) -> pd.DataFrame:
    """False verdicts and coverage by noise, number of arms and looks."""
    rows = []
    for name, noise in NOISES.items():
        for arms in ARMS:
            for shown, looks in LOOKS.items():
                null = grids(noise, arms, looks, 0.0, count)
                border = grids(noise, arms, looks, SMALLEST_EFFECT, count)
                rows.append(
                    {
                        "noise": name,
                        "arms": arms,
                        "seeds": shown,
                        "false differences": np.mean(~null.covers(0.0)),
                        "false equivalences": np.mean(border.equivalent()),
                        "coverage": np.mean(border.covers(SMALLEST_EFFECT)),
                        "seeds used": np.mean(null.seeds_N),
                    }
                )
    return pd.DataFrame(rows)


def power(count: int) -> pd.DataFrame:
    """The fraction of grids in which one of two comparisons' intervals excludes 0, by the true difference."""
    rows = []
    for effect in (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0):
        row: dict[str, object] = {"effect / noise": effect}
        for shown, looks in LOOKS.items():
            ended = grids(NOISES["normal, equal"], 3, looks, effect, count)
            row[f"{shown} seeds"] = np.mean((ended.low_NC[:, 0] > 0) | (ended.high_NC[:, 0] < 0))
        rows.append(row)
    return pd.DataFrame(rows)


def main() -> None:
    """Prints Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--grids", type=int, default=2000, help="simulated grids per row")
    parser.add_argument("--power", action="store_true", help="power curves in place of the calibration")
    arguments = parser.parse_args()
    table = power(arguments.grids) if arguments.power else calibration(arguments.grids)
    print("| " + " | ".join(table.columns) + " |\n|" + "---|" * table.shape[1])
    for row in table.itertuples(index=False):
        print("| " + " | ".join(_shown(name, value) for name, value in zip(table.columns, row, strict=True)) + " |")


def _shown(name: str, value: object) -> str:
    if name in ("noise", "arms", "seeds", "effect / noise"):
        return str(value)
    return f"{value:.1f}" if name == "seeds used" else f"{value:.1%}"


if __name__ == "__main__":
    main()
