"""Measure how often tuned arms with the same response to a value are called different (docs/statistics.md).

    python bench/tuning_noise.py [--tunings 400] [--sampler tpe] [--pruners]

The value is a learning rate over three decades. A trial's score is curvature × (decades from the best rate)² + noise of
standard deviation 1, in every arm. An arm's tuning keeps the rate of its best of 16 candidates; the arms of one tuning
are offered the same first candidates, as in a command. *Once* each arm has one rate under all seeds, *per seed* each
seed has the rate of a tuning of its own. Grids draw their tunings from those that were simulated.
With --pruners: what each pruner leaves to choose from, where evaluations before the end favour smaller rates.
Shapes: `N` grids or tunings, `A` arms, `S` seeds, `C` comparisons.
"""

import argparse
from collections.abc import Iterator
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray

from ablate.lessons.critical_values import critical_values, standard_errors
from ablate.records.optuna.studies import SAMPLERS, KeyedSampler, pruner_of, quietly

Floats = NDArray[np.float64]
# log10 of the rate; in the proxy runs the loss has its minimum near 0.006.
LOWEST, BEST, HIGHEST = -4.0, -2.2, -1.0
CANDIDATES, ARMS, GRIDS, ERROR = 16, 3, 10_000, 0.05
# In standard deviations of a trial's noise per squared decade.
CURVATURES = (3.0, 10.0, 30.0, 100.0)
ONCE, PER_SEED = (4, 8, 12), (3, 4, 5, 8)
SAMPLER_PARAMETERS: dict[str, dict[str, Any]] = {
    "tpe": {"n_startup_trials": 5, "multivariate": True, "group": True},
    "random": {},
}
EVALUATIONS = 9
PRUNERS: dict[str, dict[str, Any]] = {
    "none": {"kind": "none", "parameters": {}},
    **{
        f"hyperband, n_startup_trials={startup}": {
            "kind": "hyperband",
            "parameters": {"min_resource": 4, "max_resource": EVALUATIONS, "n_startup_trials": startup},
        }
        for startup in (0, 4)
    },
    "median": {"kind": "median", "parameters": {"n_startup_trials": 4, "n_warmup_steps": 4}},
}


def regret(rate: Floats | float, curvature: float) -> Any:
    """Return how much a rate's expected score is above the best one's."""
    return curvature * (rate - BEST) ** 2


def sampler_of(name: str, seed: int) -> KeyedSampler:
    """Return the sampler of a tuning's studies, as a command makes it."""
    return KeyedSampler(lambda key: SAMPLERS[name](seed=key, **SAMPLER_PARAMETERS[name]), seed)


def chosen_rates(sampler: str, curvature: float, tunings: int) -> Floats:
    """Return the rate that each tuning of each arm keeps, `[N, A]`."""
    rates_NA = np.empty((tunings, ARMS))
    for tuning in range(tunings):
        for arm in range(ARMS):
            rng = np.random.default_rng([tuning, arm])
            study = optuna.create_study(sampler=sampler_of(sampler, tuning))
            for _ in range(CANDIDATES):
                trial = study.ask()
                rate = trial.suggest_float("rate", LOWEST, HIGHEST)
                study.tell(trial, regret(rate, curvature) + rng.normal())
            rates_NA[tuning, arm] = study.best_params["rate"]
    return rates_NA


def false_differences(regrets_NAS: Floats, rng: np.random.Generator) -> float:
    """Return the fraction of grids with an interval that excludes 0."""
    _, arms, seeds = regrets_NAS.shape
    weights_CA = np.column_stack([-np.ones(arms - 1), np.eye(arms - 1)])
    [critical] = critical_values(tuple(map(tuple, weights_CA.tolist())), (seeds,), ERROR)
    values_NCS = weights_CA @ (regrets_NAS + rng.normal(size=regrets_NAS.shape))
    sizes_C = np.sqrt((weights_CA**2).sum(axis=1))
    errors_NC = standard_errors(values_NCS.var(axis=-1, ddof=1), seeds, sizes_C)
    excluded_NC = np.abs(values_NCS.mean(axis=-1)) > critical.value * errors_NC
    return float(excluded_NC.any(axis=1).mean())


def rates_of_error(sampler: str, tunings: int) -> Iterator[dict[str, str]]:
    """Yield the false differences of arms that are tuned once, and for each seed, by curvature."""
    for curvature in CURVATURES:
        regrets_NA = regret(chosen_rates(sampler, curvature, tunings), curvature)
        rng = np.random.default_rng(0)
        row = {"curvature": f"{curvature:g}", "mean regret": f"{regrets_NA.mean():.2f}"}
        for seeds in ONCE:
            drawn_N = rng.integers(tunings, size=GRIDS)
            once_NAS = np.repeat(regrets_NA[drawn_N][:, :, None], seeds, axis=2)
            row[f"once, {seeds} seeds"] = f"{false_differences(once_NAS, rng):.1%}"
        for seeds in PER_SEED:
            drawn_NS = rng.random((GRIDS, tunings)).argpartition(seeds, axis=1)[:, :seeds]
            row[f"per seed, {seeds} seeds"] = f"{false_differences(regrets_NA[drawn_NS].swapaxes(1, 2), rng):.1%}"
        yield row


def pruned_studies(tunings: int) -> Iterator[dict[str, str]]:
    """Yield, by pruner, how many candidates are trained to the end, what a tuning costs, and what it chooses."""
    for name, pruner in PRUNERS.items():
        trained, cost, regrets = np.empty((3, tunings))
        for tuning in range(tunings):
            study = optuna.create_study(sampler=sampler_of("tpe", tuning), pruner=pruner_of(pruner))
            steps = sum(_train(study, np.random.default_rng(tuning)) for _ in range(CANDIDATES))
            trained[tuning] = len(study.get_trials(states=(optuna.trial.TrialState.COMPLETE,)))
            cost[tuning] = steps / EVALUATIONS
            regrets[tuning] = regret(study.best_params["rate"], CURVATURES[2])
        yield {
            "pruner": name,
            "trained to the end": f"{trained.mean():.1f}",
            "fewest": f"{trained.min():.0f}",
            "tunings with less than 3": f"{(trained < 3).mean():.0%}",
            "full trials": f"{cost.mean():.1f}",
            "mean regret": f"{regrets.mean():.2f}",
        }


def _train(study: optuna.Study, rng: np.random.Generator) -> int:
    """Train a candidate of a study until it is pruned or done; return its number of evaluations."""
    trial = study.ask()
    rate = trial.suggest_float("rate", LOWEST, HIGHEST)
    noise = rng.normal()
    for step in range(1, EVALUATIONS + 1):
        left = 1 - step / EVALUATIONS
        # All losses fall; the best rate of an early evaluation is half a decade smaller.
        score = CURVATURES[2] * (rate - BEST + 0.5 * left) ** 2 + 100 * left + noise + rng.normal(scale=0.3)
        trial.report(score, step)
        if step < EVALUATIONS and trial.should_prune():
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            return step
    study.tell(trial, score)
    return EVALUATIONS


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tunings", type=int, default=400, help="simulated tunings per row")
    parser.add_argument("--sampler", choices=list(SAMPLER_PARAMETERS), default="tpe", help="of the tunings")
    parser.add_argument("--pruners", action="store_true", help="pruners in place of false differences")
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with quietly():
        rows = pruned_studies(arguments.tunings) if arguments.pruners else None
        for number, row in enumerate(rows or rates_of_error(arguments.sampler, arguments.tunings)):
            if number == 0:
                print("| " + " | ".join(row) + " |\n|" + "---|" * len(row))
            print("| " + " | ".join(row.values()) + " |", flush=True)


if __name__ == "__main__":
    main()
