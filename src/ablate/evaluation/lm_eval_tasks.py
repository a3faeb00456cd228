"""Tasks of lm-evaluation-harness (the package `lm-eval`), run on a trial's model, with a row per document.

Shapes: `T` tokens.
"""

import importlib.metadata
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablate.errors import FailureError, UsageError, nearest
from ablate.evaluation.prompting import Prompting
from ablate.evaluation.questions import Answer, Question, metric_amounts
from ablate.evaluation.suite import Row

if TYPE_CHECKING:
    from ablate.evaluation.scoring import ModelReader

PACKAGE = "lm-eval"
# Metrics of theirs whose value is a mean over documents, and those that we add to tasks with choices.
OF_DOCUMENTS, OF_CHOICES = ("acc", "acc_norm", "exact_match"), ("margin", "bpb")
BITS_PER_BYTE = "bits_per_byte"
# What the names of their tasks that run programs begin with, and ours.
SAFE = {"humaneval": "humaneval", "mbpp": "mbpp"}


def version() -> str:
    """Return the version of the package. Raises FailureError: it is not installed."""
    try:
        return importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        raise FailureError(
            f"suites=lm_eval: needs the package {PACKAGE}. Install it from a checkout: pip install -e '.[lm_eval]'"
        ) from None


def refusal(task: str, is_unsafe: bool = False) -> str | None:
    """Return why a task is refused, or None. Without the package's index, the name tells."""
    ours = next((suite for start, suite in SAFE.items() if task.startswith(start)), None)
    if ours is None and not is_unsafe:
        return None
    remedy = f"type suites={ours}, whose programs run in a sandbox" if ours else "leave it out"
    return f"tasks: {task} runs programs that the model wrote, without a sandbox; {remedy}"


@dataclass(frozen=True)
class HarnessTasks:
    """Tasks, groups or tags by name.

    Attributes:
        include: a folder with task files of the user's; None: the package's tasks alone.
        shots: None: as many as each task says.
        max_documents: of each task, the first ones; None: all.
    """

    names: tuple[str, ...]
    include: Path | None
    shots: int | None
    max_documents: int | None

    def rows(self, reader: "ModelReader", prompting: Prompting) -> Iterator[Row]:
        """Score a model.

        Raises:
            UsageError: a task that is unknown, runs programs, or has no metric that is a mean over documents.
            FailureError: a task whose data cannot be loaded.
        """
        version()
        from lm_eval.evaluator import simple_evaluate

        from ablate.evaluation.lm_eval_model import HarnessModel

        manager = self._manager()
        self._check(manager.task_index)
        reader.run.conditions["lm_eval"] = version()
        try:
            results = simple_evaluate(
                model=HarnessModel(reader, prompting),
                tasks=list(self.names),
                num_fewshot=self.shots,
                limit=self.max_documents,
                bootstrap_iters=0,
                task_manager=manager,
                # Global generators belong to the trial. Shots are drawn by a generator of the task's.
                random_seed=None,
                numpy_random_seed=None,
                torch_random_seed=None,
            )
        except (OSError, ValueError) as error:
            raise FailureError(
                f"lm_eval tasks {', '.join(self.names)}: {type(error).__name__}: {error}. If the data cannot be "
                "fetched, run the same command where the hub can be reached; fetched data stay in its cache."
            ) from error
        for task, samples in results["samples"].items():
            yield from _task_rows(task, samples)

    def _manager(self) -> Any:
        """Return the package's index of tasks; reading all of its files takes seconds."""
        from lm_eval.tasks import TaskManager

        if self.include is not None:
            own = TaskManager(include_path=str(self.include), include_defaults=False)
            if set(self.names) <= set(own.all_tasks):
                return own
        return TaskManager(include_path=self.include and str(self.include))

    def _check(self, index: Mapping[str, Any]) -> None:
        for name in self.names:
            if name not in index:
                raise UsageError(f"lm_eval:{name}: no such task. {nearest(name, list(index))}")
            if problem := refusal(name, bool((index[name].cfg or {}).get("unsafe_code"))):
                raise UsageError(f"evaluation.suites.lm_eval: {problem}.")


def _task_rows(task: str, samples: Sequence[Mapping[str, Any]]) -> Iterator[Row]:
    """Yield the rows of a task; of several filters, those of the first."""
    first = samples[0]["filter"]
    has_metric = False
    for sample in samples:
        if sample["filter"] != first:
            continue
        # With the text's hash, documents of changed data are not taken for those of the former.
        document = f"{sample['doc_id']}/{sample['doc_hash'][:12]}"
        for metric, amount, units in _amounts(sample):
            has_metric = True
            yield Row(f"lm_eval_{metric}", task, document, amount, units)
    if not has_metric:
        raise UsageError(
            f"lm_eval:{task}: is scored by {', '.join(samples[0]['metrics'])}. Allowed are tasks with "
            f"{', '.join((*OF_DOCUMENTS, BITS_PER_BYTE))}."
        )


def _amounts(sample: Mapping[str, Any]) -> Iterator[tuple[str, float, float]]:
    """Yield (metric, amount, units) of one document."""
    for metric in OF_DOCUMENTS:
        if metric in sample["metrics"]:
            yield metric, float(sample[metric]), 1.0
    if BITS_PER_BYTE in sample["metrics"]:
        log_likelihood, size = sample[BITS_PER_BYTE]
        yield BITS_PER_BYTE, -log_likelihood / math.log(2), float(size)
    scores, answers = sample["filtered_resps"], [arguments[-1] for arguments in sample["arguments"]]
    is_choice = "acc" in sample["metrics"] and isinstance(sample["target"], int) and len(answers) > 1
    if is_choice and 0 <= sample["target"] < len(answers) and all(map(str.strip, answers)):
        question = Question("", "", tuple(answers), sample["target"])
        scored = [
            Answer(-log_likelihood / math.log(2), len(answer.encode()), is_first)
            for answer, (log_likelihood, is_first) in zip(answers, scores, strict=True)
        ]
        yield from (row for row in metric_amounts(question, scored) if row[0] in OF_CHOICES)
