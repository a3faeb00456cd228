"""Registers suites of programming problems: their parameters, their metrics, and which of these they may lack."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

from ablate.config.fields import Count, CountOrZero, NotNegative, Seed
from ablate.config.registry import Parameters
from ablate.config.trial import TrialConfig
from ablate.evaluation.benchmark_file import Rows, chosen, content_id
from ablate.evaluation.held_out import HeldOut
from ablate.evaluation.pass_at_k import KS
from ablate.evaluation.problems import Problem, file_of, problems
from ablate.evaluation.programming import Benchmark, Writing
from ablate.evaluation.suite import Scorer, suite
from ablate.records.metric import Direction, Metric

Probability = Annotated[float, Field(gt=0, le=1)]


def programming_suite(
    name: str,
    about: str,
    read: Callable[[Rows], Iterator[Problem]],
    metrics: Sequence[Metric],
    *,
    stop_strings: tuple[str, ...] = (),
    infills: bool = False,
    fetch: str | None = None,
) -> Callable[..., Scorer]:
    """Register a suite and return its function.

    Args:
        about: what it scores, as a sentence.
        read: makes problems of a file's rows.
        stop_strings: texts that end a program.
        infills: whether the model writes between two sides.
        fetch: where the file comes from; None where a package has it.
    """

    def content(trial: TrialConfig) -> Any:
        return content_id(file_of(trial.evaluation.suites[name]["file"]))

    def problem(parameters: Parameters) -> str | None:
        if fetch is not None and parameters["file"] is None:
            return (
                f"file=null: no package has this benchmark. Fetch {fetch} and type evaluation.suites.{name}.file=PATH"
            )
        return _sampling_problem(parameters)

    def score(
        held_out: HeldOut,
        *,
        file: str | None,
        max_problems: Count | None,
        samples: CountOrZero,
        temperature: NotNegative,
        top_p: Probability,
        max_new_tokens: Count,
        seed: Seed,
        leading_end_of_text: bool,
    ) -> Scorer:
        writing = Writing(samples, temperature, top_p, max_new_tokens, seed, leading_end_of_text, stop_strings)
        return Benchmark(name, chosen(problems(read, file), max_problems), held_out, writing, infills).rows

    def missing(parameters: Parameters) -> Mapping[str, str]:
        samples = int(parameters["samples"])
        return {f"{name}_pass@{k}": f"evaluation.suites.{name}.samples={k}" for k in KS if samples < k}

    score.__name__ = score.__qualname__ = name
    score.__doc__ = about
    return suite(
        code_version=1,
        metrics=metrics,
        data=content,
        problem=problem,
        reads_corpus=False,
        operational=["file"],
        missing=missing,
    )(score)


def _sampling_problem(parameters: Parameters) -> str | None:
    if parameters["samples"] > 1 and parameters["temperature"] == 0:
        samples = parameters["samples"]
        return f"samples={samples} at temperature=0 are one text, {samples} times. Type samples=1, or temperature=0.2"
    return None


def bits_metric(name: str, meaning: str, *, needs_infill: bool = False) -> Metric:
    """Return a metric in bits per byte."""
    return Metric(name, meaning, "bits per byte", Direction.MINIMIZE, 0.02, needs_infill=needs_infill)


def passing(suite: str, noun: str, *, needs_infill: bool = False) -> tuple[Metric, ...]:
    """Return the metrics pass@k of a suite."""
    of_one_program = f"fraction of the programs that the model writes that pass the tests of {noun}."
    return tuple(
        Metric(
            f"{suite}_pass@{k}",
            f"probability that one of {k} programs passes the tests of {noun} (unbiased estimator, Chen et al. 2021)."
            if k > 1
            else of_one_program,
            "fraction of problems",
            Direction.MAXIMIZE,
            0.01,
            needs_infill=needs_infill,
        )
        for k in KS
    )
