"""The metrics, from the declarations of the evaluation suites."""

import ablate.evaluation  # noqa: F401  registers the suites
from ablate.evaluation.suite import SUITES, Row, Suite
from ablate.records.metric import Metric
from reference_pages.markdown import GENERATED, attributes, code, summary, table

INTRODUCTION = f"""# Metrics

{GENERATED}

What trials are scored by, suite by suite. `evaluation=[bits_per_byte,infill]` names the suites of a trial. Each has
its own options ([evaluation](options.md#evaluation)). `name/source` is a metric's value on one source. A lesson
decides by `lesson.primary_metric`. A *reference* describes the data and not the model; lessons do not compare it."""


def page() -> str:
    """The page."""
    rows = [(code(name), meaning) for name, meaning in attributes(Row).items()]
    stored = "Each suite writes its per-document rows to `evaluations/<suite id>.parquet` of the trial's folder:"
    columns = table(["column", "meaning"], [*((code(name), "text") for name in Row._fields[:3]), *rows])
    return "\n\n".join([INTRODUCTION, *map(_section, SUITES.values()), "## Rows", stored, columns])


def _section(suite: Suite) -> str:
    columns = ["metric", "meaning", "unit", "better is", "smallest effect"]
    about = f"{summary(suite.function)} Code version {suite.code_version}."
    return "\n\n".join([f"## {suite.name}", about, table(columns, map(_row, suite.metrics))])


def _row(metric: Metric) -> tuple[str, ...]:
    direction = "lower" if metric.less_is_better else "higher"
    notes = " Only of arms that were trained to infill." if metric.needs_infill else ""
    effect = "" if metric.is_reference or metric.smallest_effect is None else f"{metric.smallest_effect:g}"
    kind = "reference" if metric.is_reference else direction
    return code(metric.name), f"{metric.meaning}{notes}", metric.unit, kind, effect
