"""The noise of one metric, as finished grids have shown it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SeenNoise:
    """The noise of finished trials.

    Attributes:
        deviation: standard deviation of one trial without the seed's effect on all arms, in the metric's unit.
        degrees: degrees of freedom that it is estimated with.
        document_error: the standard error that other documents add to a comparison; 0 where that is unknown.
        document_degrees: its degrees of freedom.
        parameters: of the trials.
        train_tokens: of one trial.
        grids: how many grids it comes from.
        is_same_scale: whether parameters and train tokens are those that were asked for, within 10%.
    """

    deviation: float
    degrees: int
    document_error: float
    document_degrees: float
    parameters: int
    train_tokens: int
    grids: int
    is_same_scale: bool
