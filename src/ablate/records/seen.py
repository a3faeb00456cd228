"""What a ledger had seen when a grid was declared: earlier grids that asked the same, or compared with its baseline."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Beside:
    """An earlier grid whose other comparisons were made with trials of the same baseline.

    Attributes:
        comparisons: how many of them.
        planned: the number of comparisons that it divided its error by; None where it planned none.
    """

    grid_id: str
    comparisons: int
    planned: int | None = None


@dataclass(frozen=True)
class Seen:
    """What was scored in a ledger when a grid was declared.

    Attributes:
        tries: earlier grids that asked one of the grid's questions, by lesson name or by the arms that are compared.
        beside: earlier grids with other questions to the trials of the grid's baseline.
        left_out: seeds of the baseline that such grids scored, and that this grid leaves out.
    """

    tries: tuple[str, ...] = ()
    beside: tuple[Beside, ...] = ()
    left_out: tuple[str, ...] = ()
