"""Tasks of lm-evaluation-harness (Gao et al.), each a source of its own: `lm_eval_acc/arc_easy`.

Its tasks that run programs are refused: ours run them in a sandbox.
"""

import hashlib
from pathlib import Path
from typing import Any

from ablate.config.fields import Count, CountOrZero, Name
from ablate.config.registry import Parameters
from ablate.config.trial import TrialConfig
from ablate.errors import UsageError
from ablate.evaluation.held_out import HeldOut
from ablate.evaluation.lm_eval_tasks import HarnessTasks, refusal, version
from ablate.evaluation.prompting import Prompting
from ablate.evaluation.suite import Scorer, suite
from ablate.records.metric import Direction, Metric

FRACTION = "fraction of documents"
METRICS = (
    Metric(
        "lm_eval_margin",
        "bits by which the best wrong answer is less likely than the right one, in tasks with choices.",
        "bits",
        Direction.MAXIMIZE,
        0.1,
    ),
    Metric("lm_eval_bpb", "bits per byte of right answers.", "bits per byte", Direction.MINIMIZE, 0.02),
    Metric("lm_eval_acc", "the tasks' acc: the right answer is the likeliest.", FRACTION, Direction.MAXIMIZE, 0.01),
    Metric(
        "lm_eval_acc_norm",
        "the tasks' acc_norm: the right answer is the likeliest per byte.",
        FRACTION,
        Direction.MAXIMIZE,
        0.01,
    ),
    Metric(
        "lm_eval_exact_match",
        "the tasks' exact_match of what the model writes, after the first filter.",
        FRACTION,
        Direction.MAXIMIZE,
        0.01,
    ),
    Metric(
        "lm_eval_bits_per_byte", "the tasks' bits_per_byte of whole texts.", "bits per byte", Direction.MINIMIZE, 0.02
    ),
)


def _data(trial: TrialConfig) -> Any:
    """Return the package's version, which holds its tasks, and the content of the user's folder."""
    include = trial.evaluation.suites["lm_eval"]["include"]
    return [version(), None if include is None else _content_of(_folder(include))]


def _folder(include: str) -> Path:
    folder = Path(include).expanduser()
    if not folder.is_dir():
        raise UsageError(f"evaluation.suites.lm_eval.include={include}: there is no such folder of task files.")
    return folder


def _content_of(folder: Path) -> list[list[str]]:
    files = sorted(file for file in folder.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
    return [[str(file.relative_to(folder)), hashlib.sha256(file.read_bytes()).hexdigest()] for file in files]


def _problem(parameters: Parameters) -> str | None:
    if not parameters["tasks"]:
        return (
            "tasks=[] scores nothing. Type suites=lm_eval:arc_easy,hellaswag, or in a grid "
            "evaluation.suites.lm_eval.tasks=[arc_easy,hellaswag]"
        )
    return next((problem for task in parameters["tasks"] if (problem := refusal(task))), None)


def _sources(parameters: Parameters) -> tuple[str, ...]:
    return tuple(parameters.get("tasks", ()))


@suite(
    code_version=1,
    metrics=METRICS,
    data=_data,
    problem=_problem,
    reads_corpus=False,
    operational=["include"],
    sources=_sources,
)
def lm_eval(
    held_out: HeldOut,
    *,
    tasks: tuple[Name, ...],
    include: str | None,
    shots: CountOrZero | None,
    max_documents: Count | None,
    leading_end_of_text: bool,
) -> Scorer:
    """Score tasks of lm-evaluation-harness by name.

    Args:
        held_out: the trial's tokenizer and prompts.
        tasks: names of tasks, groups or tags.
        include: a folder with task files of one's own; null: none.
        shots: examples before each document; null: as many as the task says.
        max_documents: of each task, the first ones; null: all.
        leading_end_of_text: false for models whose documents did not begin with `<|endoftext|>`.
    """
    harness = HarnessTasks(tasks, None if include is None else _folder(include), shots, max_documents)
    prompting = Prompting(held_out, leading_end_of_text)
    return lambda reader: harness.rows(reader, prompting)
