"""Curves through the rungs of a ladder, and the noise that their intervals come from.

A curve is fitted to the measured means and to many draws of them; a parameter's interval, or a prediction's, is a range
of what the draws give. Shapes: `K` draws, of which the first is what was measured, `R` rungs, `A` arms, `S` seeds,
`D` documents, `P` parameters.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import ClassVar, Protocol

import numpy as np
from scipy import stats

from ablate.lessons.critical_values import Floats

DRAWS = 4000
# A worse fit than noise gives in one of so many ladders is no fit.
MAX_BAD_FITS = 0.01
EXPONENTS = np.geomspace(0.01, 2.0, 160)
# Muennighoff et al. found R* = 15.4; at most 2⁸ epochs are of interest.
REPETITIONS = np.geomspace(0.25, 256.0, 60)


@dataclass(frozen=True)
class Sizes:
    """What was computed at each rung, or at a target.

    Attributes:
        flops_R: of the training.
        tokens_R: train tokens.
        unique_R: train tokens that were read for the first time.
    """

    flops_R: Floats
    tokens_R: Floats
    unique_R: Floats


@dataclass(frozen=True)
class RungNoise:
    """What one rung says of its noise.

    Attributes:
        deviations_AS: each arm's values about their mean, over the seeds that all arms have.
        documents_AD: what documents contribute to each arm's mean over seeds; the same documents at all rungs. None
            where it is not known.
    """

    deviations_AS: Floats
    documents_AD: Floats | None = None


class Curve(Protocol):
    """A form with free parameters."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the parameters."""

    def fit(self, sizes: Sizes, value_KR: Floats) -> Floats:
        """Return the parameters of each draw, `[K, P]`, by least squares."""

    def at(self, sizes: Sizes, parameter_KP: Floats) -> Floats:
        """Return the values at other sizes, `[K, R]`."""


@dataclass(frozen=True)
class Line:
    """y = b + m · log10(C / C₀), where C₀ is the compute of the largest rung."""

    largest: float
    names: ClassVar[tuple[str, ...]] = ("at_largest", "slope")

    def fit(self, sizes: Sizes, value_KR: Floats) -> Floats:
        """See `Curve`."""
        columns_RP = self._columns(sizes)
        parameter_KP: Floats = value_KR @ np.linalg.pinv(columns_RP).T
        return parameter_KP

    def at(self, sizes: Sizes, parameter_KP: Floats) -> Floats:
        """See `Curve`."""
        value_KR: Floats = parameter_KP @ self._columns(sizes).T
        return value_KR

    def _columns(self, sizes: Sizes) -> Floats:
        decades_R = np.log10(sizes.flops_R / self.largest)
        return np.stack([np.ones_like(decades_R), decades_R], axis=1)


@dataclass(frozen=True)
class PowerLaw:
    """L = E + A · (C / C₀)^−α, with E and A at least 0 (Hoffmann et al. 2022, section 3, over compute).

    C₀ is the compute of the largest rung, so A is what more compute could still remove there.
    """

    largest: float
    names: ClassVar[tuple[str, ...]] = ("E", "A", "alpha")

    def fit(self, sizes: Sizes, value_KR: Floats) -> Floats:
        """See `Curve`."""
        shapes = [([alpha], (sizes.flops_R / self.largest) ** -alpha) for alpha in EXPONENTS]
        return _separable(shapes, value_KR)

    def at(self, sizes: Sizes, parameter_KP: Floats) -> Floats:
        """See `Curve`."""
        floor_K1, scale_K1, alpha_K1 = (column[:, None] for column in parameter_KP.T)
        value_KR: Floats = floor_K1 + scale_K1 * (sizes.flops_R / self.largest) ** -alpha_K1
        return value_KR


@dataclass(frozen=True)
class EpochsLaw:
    """L = E + B · (D′ / D₀)^−β, with D′ = U + U · R* · (1 − e^(−R / R*)) for D = (1 + R) · U tokens, U of them unique.

    Muennighoff et al. 2023, section 3.1, equation 5, at one model size: E holds their term in the parameters. R* is
    the number of repetitions after which another one is worth 1/e of new text. D₀ are the tokens of the largest rung.
    """

    largest: float
    names: ClassVar[tuple[str, ...]] = ("E", "B", "beta", "R_star")

    def fit(self, sizes: Sizes, value_KR: Floats) -> Floats:
        """See `Curve`."""
        shapes = [
            ([beta, repetitions], (effective_R / self.largest) ** -beta)
            for repetitions in REPETITIONS
            for effective_R in [effective_tokens(sizes, repetitions)]
            for beta in EXPONENTS[::4]
        ]
        return _separable(shapes, value_KR)

    def at(self, sizes: Sizes, parameter_KP: Floats) -> Floats:
        """See `Curve`."""
        floor_K1, scale_K1, beta_K1, repetitions_K1 = (column[:, None] for column in parameter_KP.T)
        effective_KR = effective_tokens(sizes, repetitions_K1)
        value_KR: Floats = floor_K1 + scale_K1 * (effective_KR / self.largest) ** -beta_K1
        return value_KR


def effective_tokens(sizes: Sizes, repetitions: float | Floats) -> Floats:
    """Return how many tokens of new text the tokens read are worth; `repetitions` is R*."""
    repeated_R = sizes.tokens_R / sizes.unique_R - 1
    effective: Floats = sizes.unique_R * (1 - repetitions * np.expm1(-repeated_R / repetitions))
    return effective


def _separable(shapes: Iterable[tuple[Sequence[float], Floats]], value_KR: Floats) -> Floats:
    """Return the least squares of floor + scale · shape, both at least 0, over given shapes.

    The other parameters are on a grid, and the two linear ones follow for each of its points (variable projection;
    Golub and Pereyra 1973).

    Args:
        shapes: parameters, and their shape `[R]`.
        value_KR: positive values.

    Returns:
        floor, scale and the parameters of the best shape, `[K, P]`.
    """
    mean_K = value_KR.mean(axis=1)
    best_K: Floats = np.full(len(value_KR), np.inf)
    found_KP: Floats | None = None
    for parameters, shape_R in shapes:
        centred_R = shape_R - shape_R.mean()
        scale_K = np.maximum(0.0, value_KR @ centred_R / max(centred_R @ centred_R, 1e-300))
        floor_K = mean_K - scale_K * shape_R.mean()
        is_below_K = floor_K < 0
        floor_K[is_below_K] = 0.0
        scale_K[is_below_K] = value_KR[is_below_K] @ shape_R / (shape_R @ shape_R)
        errors_K = ((value_KR - floor_K[:, None] - scale_K[:, None] * shape_R) ** 2).sum(axis=1)
        if found_KP is None:
            found_KP = np.zeros((len(value_KR), 2 + len(parameters)))
        is_better_K = errors_K < best_K
        best_K[is_better_K] = errors_K[is_better_K]
        found_KP[is_better_K, 0], found_KP[is_better_K, 1] = floor_K[is_better_K], scale_K[is_better_K]
        found_KP[is_better_K, 2:] = parameters
    assert found_KP is not None
    return found_KP


def draw_means(mean_RA: Floats, noises: Sequence[RungNoise], draws: int = DRAWS) -> Floats:
    """Draw what other seeds and other documents would have given, `[K, R, A]`; the first draw is the measured one.

    The multiplier bootstrap (Wu 1986): a seed's deviations get one normal factor for all arms, so pairing is kept, and
    each rung keeps its own noise. Few seeds are accounted for by Student's t: all rungs of a draw have the same χ.
    A document gets one factor for all arms and rungs, which share it.
    """
    rng = np.random.default_rng(0)
    degrees = degrees_of(noises)
    student_K1 = np.sqrt(degrees / rng.chisquare(degrees, size=(draws, 1)))
    drawn_KRA = np.repeat(mean_RA[None], draws + 1, axis=0)
    first = noises[0].documents_AD
    factor_KD = None if first is None else rng.normal(size=(draws, first.shape[1]))
    for rung, noise in enumerate(noises):
        seeds = noise.deviations_AS.shape[1]
        factor_KS = rng.normal(size=(draws, seeds)) / np.sqrt(seeds * (seeds - 1))
        drawn_KRA[1:, rung] += student_K1 * (factor_KS @ noise.deviations_AS.T)
        if factor_KD is not None and noise.documents_AD is not None:
            drawn_KRA[1:, rung] += factor_KD @ noise.documents_AD.T
    return drawn_KRA


def degrees_of(noises: Sequence[RungNoise]) -> float:
    """Return Satterthwaite's degrees of freedom of the rungs' noise: few where one rung is much noisier than others."""
    seeds_R = np.array([noise.deviations_AS.shape[1] for noise in noises])
    variance_R = np.array([(noise.deviations_AS**2).sum() for noise in noises]) / (seeds_R * (seeds_R - 1))
    squares = float((variance_R**2 / (seeds_R - 1)).sum())
    return float(variance_R.sum()) ** 2 / squares if squares else float((seeds_R - 1).sum())


@dataclass(frozen=True)
class Range:
    """A value and the interval around it."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, value_K: Floats, error: float, widening: float = 1.0) -> "Range":
        """The first draw, and the range of all but `error` of the others; `widening` stretches it about the value."""
        value = float(value_K[0])
        low, high = np.quantile(value_K[1:], [error / 2, 1 - error / 2])
        return cls(value, value - widening * (value - float(low)), value + widening * (float(high) - value))


@dataclass(frozen=True)
class Fitted:
    """A curve through the rungs, and how well it fits.

    Attributes:
        parameter_KP: of each draw.
        misfit: residuals over noise, squared, for each degree of freedom that the curve leaves; None where it leaves
            none.
        chance: the probability of such a misfit, or a larger one, if the curve is true.
    """

    curve: Curve
    parameter_KP: Floats
    misfit: float | None
    chance: float

    @classmethod
    def of(cls, curve: Curve, sizes: Sizes, value_KR: Floats, degrees: float) -> "Fitted":
        """Fit a curve.

        Args:
            curve: the form.
            sizes: of the rungs.
            value_KR: draws of the values.
            degrees: of freedom of the noise.
        """
        parameter_KP = curve.fit(sizes, value_KR)
        left = value_KR.shape[1] - len(curve.names)
        if left < 1:
            return cls(curve, parameter_KP, None, 1.0)
        residual_R = value_KR[0] - curve.at(sizes, parameter_KP[:1])[0]
        # The mean over rungs, because few seeds know their own rung's noise badly. Draws are wider by Student's t.
        variance = value_KR[1:].var(axis=0).mean() * ((degrees - 2) / degrees if degrees > 2 else 1.0)
        misfit = float((residual_R**2).sum() / variance / left)
        return cls(curve, parameter_KP, misfit, float(stats.f.sf(misfit, left, degrees)))

    @property
    def is_bad(self) -> bool:
        """Whether the rungs do not lie on the curve."""
        return self.chance < MAX_BAD_FITS

    @property
    def widening(self) -> float:
        """By how much intervals are stretched: Birge's ratio (1932), at least 1."""
        return sqrt(max(1.0, self.misfit or 1.0))

    def drawn(self, name: str) -> Floats:
        """A parameter's value of each draw, `[K]`."""
        return self.parameter_KP[:, self.curve.names.index(name)]

    def parameters(self, error: float) -> Mapping[str, Range]:
        """The interval of each parameter."""
        return {name: Range.of(self.drawn(name), error, self.widening) for name in self.curve.names}

    def at(self, sizes: Sizes) -> Floats:
        """The value of each draw at a target, `[K]`."""
        return self.curve.at(sizes, self.parameter_KP)[:, 0]
