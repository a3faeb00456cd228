"""The errors that a lesson's tries, and other comparisons with its baseline, have together."""

from ablate.lessons.grid_results import GridResults


def error_of_tries(results: GridResults) -> float:
    """The probability of a false verdict in any of the tries, each with the error of this one."""
    return 1 - (1 - results.error(len(results.contrasts))) ** results.try_number


def error_beside(results: GridResults) -> float:
    """The same over this grid and the earlier ones that made other comparisons with its baseline's trials."""
    holds = 1 - results.error(len(results.contrasts))
    for grid in results.seen.beside:
        share = grid.comparisons / grid.planned if grid.planned else 1.0
        holds *= 1 - (1 - results.declaration.confidence) * min(1.0, share)
    return 1 - holds
