"""Measure lessons' error rates, power and trials on simulated grids (docs/statistics.md).

    python bench/calibration.py [--grids 2000] [--power | --trials] [--seeds 3] [--noise "normal, equal"]

As in a command, a comparison that is decided at a look keeps its verdict, and the others get more seeds until no look
is left. A grid is wrong if any of its comparisons is. Critical values and standard errors are computed as in lessons,
for all grids at once; some grids of each row also go through `compare` and `verdict`, with the same result.
Shapes: `N` grids, `C` comparisons, `A` arms, `S` seeds.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import product

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ablate.lessons.contrast import Contrast, against_baseline, interactions, main_effects
from ablate.lessons.critical_values import critical_values, standard_errors
from ablate.lessons.estimate import compare
from ablate.lessons.verdict import Verdict, verdict
from documents import DocumentNoise, document_halves

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Noise = Callable[[np.random.Generator, tuple[int, int, int]], Floats]


def scaled(*noises: float) -> Noise:
    """Return normal noise. The first arms have these standard deviations, the others 1."""

    def draw(rng: np.random.Generator, shape: tuple[int, int, int]) -> Floats:
        scale_A = np.ones(shape[1])
        scale_A[: len(noises)] = noises[: shape[1]]
        noise_NAS: Floats = rng.normal(size=shape) * scale_A[:, None]
        return noise_NAS

    return draw


def twins(rng: np.random.Generator, shape: tuple[int, int, int]) -> Floats:
    """All arms but the last one are nearly the baseline: 5% of its noise is their own."""
    noise_NAS: Floats = rng.normal(size=shape)
    noise_NAS[:, 1:-1] = noise_NAS[:, :1] + 0.05 * noise_NAS[:, 1:-1]
    return noise_NAS


def correlated(rng: np.random.Generator, shape: tuple[int, int, int]) -> Floats:
    """Arms follow the seed to unequal degrees: their correlations with it rise from 0 to 0.9."""
    grids, arms, seeds = shape
    fraction_A = np.linspace(0, 0.9, arms)[:, None]
    common_NAS = rng.normal(size=(grids, 1, seeds))
    noise_NAS: Floats = np.sqrt(fraction_A) * common_NAS + np.sqrt(1 - fraction_A) * rng.normal(size=shape)
    return noise_NAS


def interacting(rng: np.random.Generator, shape: tuple[int, int, int]) -> Floats:
    """The second half of the arms has a seed effect of its own, of twice the noise."""
    grids, arms, seeds = shape
    noise_NAS = rng.normal(size=shape)
    noise_NAS[:, arms // 2 :] += 2 * rng.normal(size=(grids, 1, seeds))
    return noise_NAS


def heavy(rng: np.random.Generator, shape: tuple[int, int, int]) -> Floats:
    """Student's t with 3 degrees of freedom, at a standard deviation of 1."""
    noise_NAS: Floats = rng.standard_t(3, size=shape) / 3**0.5
    return noise_NAS


def skewed(rng: np.random.Generator, shape: tuple[int, int, int]) -> Floats:
    """Log-normal, at a standard deviation of 1: a few trials are much worse than the others."""
    drawn = rng.lognormal(sigma=0.75, size=shape)
    mean, square = np.exp(0.75**2 / 2), np.exp(0.75**2) - 1
    noise: Floats = (drawn - mean) / (mean * square**0.5)
    return noise


def rates(rng: np.random.Generator, shape: tuple[int, int, int]) -> Floats:
    """Counts of 20 successes in 100, so that many seeds tie; at a standard deviation of 1."""
    noise: Floats = (rng.binomial(100, 0.2, size=shape).astype(float) - 20.0) / 4.0
    return noise


@dataclass(frozen=True)
class World:
    """What a trial's score is made of beside its arm's effect."""

    noise: Noise
    documents: DocumentNoise | None = None

    def draw(
        self, rng: np.random.Generator, shape: tuple[int, int, int], weights_CA: Floats
    ) -> tuple[Floats, Floats | None]:
        """Draw scores `[N, A, S]` and the documents' contributions to contrasts `[N, C, S, D]`."""
        values_NAS = self.noise(rng, shape)
        values_NAS += rng.normal(scale=SEED_NOISE, size=(shape[0], 1, shape[2]))
        if self.documents is None:
            return values_NAS, None
        added_NAS, contributions_NASD = self.documents.contributions(rng, shape)
        return values_NAS + added_NAS, np.einsum("ca,nasd->ncsd", weights_CA, contributions_NASD, optimize=True)


NOISES: dict[str, Noise] = {
    "normal, equal": scaled(),
    "baseline 2× as noisy": scaled(2),
    "baseline 3× as noisy": scaled(3),
    "another arm 2× as noisy": scaled(1, 2),
    "another arm 3× as noisy": scaled(1, 3),
    "another arm 10× as noisy": scaled(1, 10),
    "near-twins of the baseline": twins,
    "correlations from 0 to 0.9": correlated,
    "half of the arms interact with the seed": interacting,
    "rates with ties": rates,
    "heavy tails (t, 3)": heavy,
    "skewed (log-normal)": skewed,
}
# Of the variance of a comparison of five seeds documents are 40% and 80%.
WORLDS = {
    **{name: World(noise) for name, noise in NOISES.items()},
    "documents are 40% of the variance": World(scaled(), DocumentNoise(0.37, 0.3)),
    "documents are 80% of the variance": World(scaled(), DocumentNoise(0.9, 0.3)),
    "skewed documents, 40%": World(scaled(), DocumentNoise(0.37, 0.3, sigma=0.75)),
}
LOOKS: dict[str, tuple[int, ...]] = {
    **{str(seeds): (seeds,) for seeds in (3, 4, 5, 8)},
    "4 to 12": (4, 5, 6, 8, 10, 12),
}
ERROR = 0.05
# The smallest effect and the seeds' effect in standard deviations of a trial, as in the proxy runs (docs/lessons.md).
SMALLEST_EFFECT = 4.0
SEED_NOISE = 1.5
# Grids of each row that also go through `compare`, and of those drawn at once.
CHECKED, PART = 10, 500


def baseline_contrasts(arms: int) -> list[Contrast]:
    """Each arm minus the first."""
    labels = [f"arm{number}" for number in range(arms)]
    return list(against_baseline(labels, labels[0], "m"))


def factorial_contrasts() -> list[Contrast]:
    """Main effects and interactions of a 2 × 3 factorial; its arms are named as those of `baseline_contrasts`."""
    options = {f"arm{number}": {"a": a, "b": b} for number, (a, b) in enumerate(product("01", "012"))}
    return [*main_effects(options, "m"), *interactions(options, "m")]


DESIGNS = {
    **{f"{arms} arms": (arms, baseline_contrasts(arms)) for arms in (2, 3, 4, 6, 11)},
    "2 × 3 factorial": (6, factorial_contrasts()),
}


@dataclass(frozen=True)
class Ended:
    """What each comparison of each grid ended with."""

    low_NC: Floats
    high_NC: Floats
    margin_NC: Floats
    seeds_NC: NDArray[np.int64]

    @property
    def equivalent_NC(self) -> Bools:
        """Which comparisons are equivalent."""
        return self.margin_NC < SMALLEST_EFFECT

    @property
    def different_NC(self) -> Bools:
        """Which comparisons are better or worse."""
        return ~self.equivalent_NC & ((self.low_NC > 0) | (self.high_NC < 0))

    @property
    def decided_NC(self) -> Bools:
        """Which comparisons have a verdict."""
        return self.equivalent_NC | self.different_NC

    def covers(self, truth_C: Floats) -> Bools:
        """Whether all intervals of a grid contain the true differences."""
        return np.asarray(((self.low_NC <= truth_C) & (truth_C <= self.high_NC)).all(axis=1))


def weights_of(contrasts: list[Contrast], arms: int) -> Floats:
    """Contrast → weight of each arm."""
    return np.array([[contrast.weights.get(f"arm{arm}", 0.0) for arm in range(arms)] for contrast in contrasts])


def run_grids(
    world: World, arms: int, contrasts: list[Contrast], looks: tuple[int, ...], effects_A: Floats, count: int
) -> Ended:
    """Simulate `count` grids whose arms differ by `effects_A`."""
    rng = np.random.default_rng([arms, len(contrasts), *looks])
    parts = [
        _run_part(world, contrasts, looks, effects_A, rng, min(PART, count - first)) for first in range(0, count, PART)
    ]
    return Ended(*(np.concatenate([getattr(part, each.name) for part in parts]) for each in fields(Ended)))


def _run_part(
    world: World,
    contrasts: list[Contrast],
    looks: tuple[int, ...],
    effects_A: Floats,
    rng: np.random.Generator,
    count: int,
) -> Ended:
    weights_CA = weights_of(contrasts, len(effects_A))
    values_NAS, contributions_NCSD = world.draw(rng, (count, len(effects_A), looks[-1]), weights_CA)
    values_NAS += effects_A[:, None]
    sizes_C = np.sqrt((weights_CA**2).sum(axis=1))
    critical = critical_values(tuple(map(tuple, weights_CA.tolist())), looks, ERROR)
    values_NCS = weights_CA @ values_NAS
    low_NC, high_NC, margin_NC, variance_NC = np.empty((4, count, len(contrasts)))
    seeds_NC = np.zeros((count, len(contrasts)), np.int64)
    used_CA = weights_CA != 0
    open_NC = np.ones((count, len(contrasts)), bool)
    for of_look, seeds in zip(critical, looks, strict=True):
        seen_NCS = values_NCS[:, :, :seeds]
        variance_NC[open_NC] = seen_NCS.var(axis=-1, ddof=1)[open_NC]
        seeds_NC[open_NC] = seeds
        mean_NC, error_NC = seen_NCS.mean(axis=-1), standard_errors(variance_NC, seeds_NC, sizes_C)
        half_NC, margin_half_NC = of_look.value * error_NC, of_look.equivalence * error_NC
        if contributions_NCSD is not None:
            known = (of_look.known, of_look.known_equivalence)
            both_NC, one_sided_NC = document_halves(contributions_NCSD[:, :, :seeds], known)
            half_NC, margin_half_NC = np.hypot(half_NC, both_NC), np.hypot(margin_half_NC, one_sided_NC)
        low_NC[open_NC] = (mean_NC - half_NC)[open_NC]
        high_NC[open_NC] = (mean_NC + half_NC)[open_NC]
        margin_NC[open_NC] = (np.abs(mean_NC) + margin_half_NC)[open_NC]
        # The arms of undecided comparisons get more seeds, and with them the comparisons that have no other arms.
        is_open_NA = ~Ended(low_NC, high_NC, margin_NC, seeds_NC).decided_NC @ used_CA
        open_NC = ~(~is_open_NA @ used_CA.T)
    ended = Ended(low_NC, high_NC, margin_NC, seeds_NC)
    _check(ended, values_NAS, contributions_NCSD, contrasts, looks)
    return ended


def _check(
    ended: Ended,
    values_NAS: Floats,
    contributions_NCSD: Floats | None,
    contrasts: list[Contrast],
    looks: tuple[int, ...],
) -> None:
    """Check the first grids with the code of real lessons."""
    labels = [f"arm{number}" for number in range(values_NAS.shape[1])]
    weights_CA = weights_of(contrasts, len(labels))
    for grid in range(min(CHECKED, len(values_NAS))):
        first_CS = weights_CA @ values_NAS[grid, :, : looks[0]]
        if len(np.unique(first_CS.round(9), axis=0)) < len(contrasts) or np.ptp(first_CS, axis=1).min() < 1e-9:
            # Equal comparisons count once in a lesson, and constant ones have no interval.
            continue
        seeds_A = dict.fromkeys(labels, 0)
        undecided = set(labels)
        for seeds in looks:
            seeds_A |= dict.fromkeys(undecided, seeds)
            values = pd.DataFrame(values_NAS[grid], index=labels)
            for label, number in seeds_A.items():
                values.loc[label, number:] = np.nan
            contributions = {}
            if contributions_NCSD is not None:
                for contrast, own_SD in zip(contrasts, contributions_NCSD[grid], strict=True):
                    common = min(seeds_A[arm] for arm in contrast.weights)
                    contributions[contrast.name] = {"source": own_SD[:common]}
            comparisons = compare(values, contrasts, 1 - ERROR, looks, contributions).comparisons
            undecided = {
                arm
                for comparison in comparisons
                if verdict(comparison, SMALLEST_EFFECT, less_is_better=True) is Verdict.UNDECIDED
                for arm in comparison.contrast.weights
            }
        lows = [np.nan if comparison.low is None else comparison.low for comparison in comparisons]
        assert np.allclose(lows, ended.low_NC[grid])


def calibration(count: int, shown_looks: Sequence[str], noises: Sequence[str]) -> Iterator[dict[str, object]]:
    """Yield the worst false verdicts and coverage over all designs, by noise and looks."""
    for name in noises:
        world = WORLDS[name]
        row: dict[str, object] = {"noise": name}
        for shown in shown_looks:
            looks = LOOKS[shown]
            cells = [_error_rates(world, *design, looks, count) for design in DESIGNS.values()]
            different, equivalent, uncovered = (max(rates) for rates in zip(*cells, strict=True))
            row[f"{shown} seeds"] = f"{100 * different:.1f} / {100 * equivalent:.1f} / {100 * (1 - uncovered):.1f}"
        yield row


def _error_rates(
    world: World, arms: int, contrasts: list[Contrast], looks: tuple[int, ...], count: int
) -> tuple[float, float, float]:
    """Return the fractions of grids with an interval that excludes 0 without an effect, a false equivalence, and an
    interval that misses the truth at the border of equivalence.
    """
    null = run_grids(world, arms, contrasts, looks, np.zeros(arms), count)
    rates = [float((~null.covers(np.zeros(len(contrasts)))).mean()), 0.0, 0.0]
    # Every comparison at the border of equivalence: all on one side, or on both in turn.
    for signs in (np.ones(arms), (-1.0) ** np.arange(arms)):
        effects_A: Floats = SMALLEST_EFFECT * signs * (np.arange(arms) > 0).astype(float)
        truth_C = weights_of(contrasts, arms) @ effects_A
        border = run_grids(world, arms, contrasts, looks, effects_A, count)
        is_false_NC = border.equivalent_NC & (np.abs(truth_C) >= SMALLEST_EFFECT - 1e-9)
        rates[1] = max(rates[1], float(is_false_NC.any(axis=1).mean()))
        rates[2] = max(rates[2], float((~border.covers(truth_C)).mean()))
    return rates[0], rates[1], rates[2]


def power(count: int, shown_looks: Sequence[str]) -> Iterator[dict[str, object]]:
    """Yield the fraction of grids in which one of two comparisons is better or worse, by the true difference."""
    arms, contrasts = DESIGNS["3 arms"]
    for effect in (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0):
        row: dict[str, object] = {"effect / noise": effect}
        for shown in shown_looks:
            looks = LOOKS[shown]
            ended = run_grids(WORLDS["normal, equal"], arms, contrasts, looks, np.array([0.0, effect, effect]), count)
            significant = (ended.low_NC[:, 0] > 0) | (ended.high_NC[:, 0] < 0)
            row[f"{shown} seeds"] = f"{significant.mean():.1%}"
        yield row


# True differences from the baseline in units of the smallest effect.
TRUTHS = {
    "no arm differs": (0.0, 0.0, 0.0),
    "one arm of three is at the border": (0.0, 0.0, 1.0),
    "all are twice the smallest effect": (2.0, 2.0, 2.0),
    "0, half and twice the smallest effect": (0.0, 0.5, 2.0),
}


def trials(count: int) -> Iterator[dict[str, object]]:
    """Yield the mean number of trials of a grid with four arms, and how many grids have a verdict on every arm."""
    arms, contrasts = DESIGNS["4 arms"]
    for truth, effects in TRUTHS.items():
        effects_A = SMALLEST_EFFECT * np.array([0.0, *effects])
        for ratio in (0.5, 0.75, 1.0):
            row: dict[str, object] = {"truth": truth, "smallest effect / noise": f"{SMALLEST_EFFECT * ratio:g}"}
            for shown, looks in {"5, 8, 12": (5, 8, 12), "4 to 12": LOOKS["4 to 12"]}.items():
                # Louder noise is a smaller effect.
                ended = run_grids(World(scaled(*[1 / ratio] * arms)), arms, contrasts, looks, effects_A, count)
                most_N = ended.seeds_NC.max(axis=1)
                row[f"{shown} seeds, every arm to the end"] = f"{arms * most_N.mean():.1f}"
                # The baseline has as many seeds as the arm with most.
                row[f"{shown} seeds"] = f"{(ended.seeds_NC.sum(axis=1) + most_N).mean():.1f}"
                row[f"{shown}: all decided"] = f"{ended.decided_NC.all(axis=1).mean():.0%}"
            yield row


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grids", type=int, default=2000, help="simulated grids per cell")
    parser.add_argument("--power", action="store_true", help="power curves in place of the calibration")
    parser.add_argument("--trials", action="store_true", help="trials until all verdicts in place of the calibration")
    parser.add_argument("--seeds", choices=list(LOOKS), nargs="+", default=list(LOOKS), help="columns")
    parser.add_argument(
        "--noise", choices=list(WORLDS), nargs="+", default=list(WORLDS), help="rows of the calibration"
    )
    arguments = parser.parse_args()
    if arguments.power:
        rows = power(arguments.grids, arguments.seeds)
    elif arguments.trials:
        rows = trials(arguments.grids)
    else:
        rows = calibration(arguments.grids, arguments.seeds, arguments.noise)
    for number, row in enumerate(rows):
        if number == 0:
            print("| " + " | ".join(row) + " |\n|" + "---|" * len(row))
        print("| " + " | ".join(map(str, row.values())) + " |", flush=True)


if __name__ == "__main__":
    main()
