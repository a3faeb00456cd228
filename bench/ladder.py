"""Measure how often a ladder's intervals hold at a size that was held out, in simulated worlds.

    python bench/ladder.py [--ladders 200]

A world has a baseline and an arm with true losses E + A · C^−α or, where the declared form is wrong, the two-term
law E + A · N^−α + B · D^−β (Hoffmann et al. 2022) with D = 20 N. A ladder has 3 to 5 sizes that span a factor 6, 3 to 5
seeds, seed effects that both arms share and noise of its own for each trial. The target is 3 to 10
times the largest size, 9 to 100 times its compute. Printed: the fraction of the ladders with a prediction whose 95%
interval holds the true loss, and the true effect; the median widths; ladders that were refused as a bad fit; and how
often the interval of the slope holds the mean slope of the true effects over the rungs.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from ablate.lessons.fits import Fitted, Line, PowerLaw, Range, RungNoise, degrees_of, draw_means
from ablate.lessons.predictions import at_flops

Floats = NDArray[np.float64]
ERROR = 0.05
SIZES, SEEDS = (3, 4, 5), (3, 5)
# Parameters of the smallest size, the span of sizes, tokens a parameter, and a trial's noise in bits per byte.
SMALLEST, SPAN, RATIO, NOISE = 1e6, 6.0, 20.0, 0.005


@dataclass(frozen=True)
class World:
    """A kind of ladder.

    Attributes:
        form: the true law.
        noise_at_smallest: times the noise at the largest size.
    """

    name: str
    form: str = "compute"
    noise_at_smallest: float = 1.0


WORLDS = (
    World("power law, equal noise"),
    World("power law, smallest size 4× as noisy", noise_at_smallest=4.0),
    World("two-term law, equal noise", form="two terms"),
    World("two-term law, smallest size 4× as noisy", form="two terms", noise_at_smallest=4.0),
)


def law(form: str, rng: np.random.Generator) -> Callable[[Floats], Floats]:
    """Draw a loss, in bits per byte, as a function of parameters."""
    floor, scale, alpha, second = rng.uniform([0.4, 0.3, 0.05, 0.2], [1.2, 1.2, 0.3, 0.5])
    if form == "compute":
        return lambda sizes: floor + scale * (sizes**2 / (SMALLEST * SPAN) ** 2) ** -alpha
    share = rng.uniform(0.3, 0.7)
    return lambda sizes: (
        floor
        + share * scale * (sizes / (SMALLEST * SPAN)) ** (-2 * alpha)
        + (1 - share) * scale * (sizes / (SMALLEST * SPAN)) ** -second
    )


def changed(baseline: Callable[[Floats], Floats], rng: np.random.Generator) -> Callable[[Floats], Floats]:
    """Draw an arm: none differs, a constant effect, or one that moves with the logarithm of compute."""
    constant, slope = rng.choice([0.0, 1.0], size=2) * rng.normal(0, [0.03, 0.01])
    return lambda sizes: baseline(sizes) + constant + slope * np.exp(-np.log10(sizes / SMALLEST))


def simulate(world: World, rungs: int, seeds: int, rng: np.random.Generator) -> dict[str, float]:
    """Return what came of one ladder: hits (0 or 1) and widths, NaN where there is no prediction."""
    sizes = np.geomspace(SMALLEST, SMALLEST * SPAN, rungs)
    target = np.array([sizes[-1] * rng.uniform(3, 10)])
    flops, at_target = 6 * RATIO * sizes**2, at_flops(6 * RATIO * target**2)
    baseline = law(world.form, rng)
    arms = [changed(baseline, rng), baseline]
    noise_R = NOISE * world.noise_at_smallest ** np.linspace(1, 0, rungs)
    shared_RS = noise_R[:, None] * rng.normal(size=(rungs, seeds))
    true_RA = np.stack([arm(sizes) for arm in arms], axis=1)
    value_RAS = true_RA[..., None] + shared_RS[:, None] + noise_R[:, None, None] * rng.normal(size=(rungs, 2, seeds))
    mean_RA = value_RAS.mean(axis=2)
    noises = [RungNoise(value_AS - mean_A[:, None]) for value_AS, mean_A in zip(value_RAS, mean_RA, strict=True)]
    drawn_KRA, degrees, of_rungs = draw_means(mean_RA, noises, 1000), degrees_of(noises), at_flops(flops)
    fitted = [Fitted.of(PowerLaw(flops[-1]), of_rungs, drawn_KRA[..., arm], degrees) for arm in range(2)]
    truth = [float(arm(target)[0]) for arm in arms]
    effect_KR = drawn_KRA[..., 0] - drawn_KRA[..., 1]
    line = Line(flops[-1])
    slope = Range.of(Fitted.of(line, of_rungs, effect_KR, degrees).parameter_KP[:, 1], ERROR)
    mean_slope = line.fit(of_rungs, (true_RA[:, 0] - true_RA[:, 1])[None])[0, 1]
    outcome = {"slope": float(slope.low <= mean_slope <= slope.high), "refused": 1.0}
    if any(each.is_bad for each in fitted):
        return outcome
    loss = Range.of(fitted[1].at(at_target), ERROR, fitted[1].widening)
    widening = max(each.widening for each in fitted)
    effect = Range.of(fitted[0].at(at_target) - fitted[1].at(at_target), ERROR, widening)
    return outcome | {
        "refused": 0.0,
        "loss": float(loss.low <= truth[1] <= loss.high),
        "effect": float(effect.low <= truth[0] - truth[1] <= effect.high),
        "loss width": loss.high - loss.low,
        "effect width": effect.high - effect.low,
    }


def row(world: World, outcomes: Sequence[dict[str, float]], rungs: int, seeds: int) -> str:
    """Return a line of the table."""
    kept = [outcome for outcome in outcomes if "loss" in outcome]
    means = [f"{np.mean([outcome[name] for outcome in kept]):.1%}" for name in ("loss", "effect")]
    widths = [f"{np.median([outcome[name] for outcome in kept]):.3f}" for name in ("loss width", "effect width")]
    both = [f"{np.mean([outcome[name] for outcome in outcomes]):.1%}" for name in ("refused", "slope")]
    return f"| {world.name} | {rungs} | {seeds} | " + " | ".join([*means, *widths, *both]) + " |"


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ladders", type=int, default=200, help="simulated ladders in each row")
    count = parser.parse_args().ladders
    print("| world | sizes | seeds | loss held | effect held | loss width | effect width | refused | slope held |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    for number, (world, rungs, seeds) in enumerate(product(WORLDS, SIZES, SEEDS)):
        rng = np.random.default_rng(number)
        outcomes = [simulate(world, rungs, seeds, rng) for _ in range(count)]
        print(row(world, outcomes, rungs, seeds), flush=True)


if __name__ == "__main__":
    main()
