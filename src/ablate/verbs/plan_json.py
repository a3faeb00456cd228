"""What `plan --json` prints."""

from dataclasses import dataclass

from ablate.grid.effect import PlannedEffect
from ablate.grid.plan import ArmPlan, Disk, Range


@dataclass(frozen=True)
class PlanJson:
    """What --json prints. Totals are of candidates and arms together.

    Attributes:
        finished: number of trials that cost nothing.
        candidates: of a tuning, those of each arm that are still to come.
        hours: device hours; None where those of an arm are unknown.
        price: US dollars; None where the hours or the price of an arm are unknown.
        price_date: the oldest date of a price.
        most_trials: trials if every arm runs until the last look.
        most_hours: their device hours.
        most_price: their price.
        effect: what the comparisons will be able to tell; None where there are none on the primary metric.
        fitting_options: what --fit adds to the command; "" where nothing is needed; None without --fit, or where
            nothing helps.
        is_within_budget: None without --budget.
    """

    schema: str
    version: int
    grid_id: str
    finished: int
    candidates: tuple[ArmPlan, ...]
    arms: tuple[ArmPlan, ...]
    hours: Range | None
    price: Range | None
    price_date: str | None
    disk: Disk
    most_trials: int
    most_hours: Range | None
    most_price: Range | None
    effect: PlannedEffect | None
    fitting_options: str | None
    is_within_budget: bool | None
