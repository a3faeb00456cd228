"""From plain containers to typed configurations and back, and what is said where that fails."""

import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, TypeVar, get_type_hints

from pydantic import BaseModel, TypeAdapter, ValidationError, create_model

from ablate.config.grid import Composed, GridConfig, LessonConfig
from ablate.config.trial import STRICT, TokenizerConfig, TrialConfig
from ablate.config.tuning import DimensionConfig, TuningConfig
from ablate.errors import UsageError, nearest

T = TypeVar("T")

_TRIAL = TypeAdapter(TrialConfig)
_GRID = TypeAdapter(GridConfig)
_SWEEP = TypeAdapter(TuningConfig)
TRIAL_KEYS = frozenset(field.name for field in fields(TrialConfig))
GRID_KEYS = frozenset(field.name for field in fields(GridConfig))


def _allowed_keys() -> dict[str, tuple[str, ...]]:
    """The known keys of the root and of each group."""
    groups = {name: hint for name, hint in get_type_hints(TrialConfig).items() if is_dataclass(hint)}
    keys = {name: tuple(field.name for field in fields(group)) for name, group in groups.items()}
    return {"": tuple(sorted(TRIAL_KEYS)), "lesson": tuple(field.name for field in fields(LessonConfig)), **keys}


def usage_error(error: ValidationError, where: str, allowed: Mapping[str, tuple[str, ...]]) -> UsageError:
    """One line per wrong key: the key, what was given, what is allowed.

    Args:
        error: what pydantic found.
        where: the key that its locations start below, "" for the root.
        allowed: the known keys below a key, to name them when one is unknown.
    """
    lines = []
    for problem in error.errors():
        parts = [str(part) for part in problem["loc"] if part not in ("parameters", "str", "int", "float")]
        key = ".".join([where, *parts] if where else parts)
        parent, _, last = key.rpartition(".")
        if problem["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            names = allowed.get(parent, ())
            lines.append(f"{key}: unknown key. " + (nearest(last, names) if names else "Nothing can be set here."))
        elif problem["type"] in ("missing", "missing_argument"):
            lines.append(f"{key}: missing; it needs a value.")
        else:
            given = json.dumps(problem["input"], default=str)
            reason = problem["msg"].removeprefix("Input ").removeprefix("Value error, ")
            lines.append(f"{key}={given}: {reason}.")
    return UsageError("\n".join(lines))


def checked_parameters(function: Callable[..., object], given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The keyword-only arguments of a named component, typed after its signature.

    Raises:
        UsageError: an unknown, missing or wrong parameter, named below the key `where`.
    """
    model = _parameters_of(function)
    try:
        # Through JSON, where strict still takes a list for a tuple.
        return model.model_validate_json(json.dumps(dict(given))).model_dump()
    except ValidationError as error:
        raise usage_error(error, where, {where: tuple(model.model_fields)}) from None


@cache
def _parameters_of(function: Callable[..., object]) -> type[BaseModel]:
    allowed: dict[str, Any] = {
        name: (parameter.annotation, ...)
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    model: type[BaseModel] = create_model(function.__name__, __config__=STRICT, **allowed)
    return model


def _typed(adapter: TypeAdapter[T], container: Mapping[str, Any]) -> T:
    try:
        # Through JSON, where strict still takes a list for a tuple and a mapping for a dataclass.
        return adapter.validate_json(json.dumps(container))
    except ValidationError as error:
        raise usage_error(error, "", _allowed_keys()) from None


def tuning_from_container(container: Mapping[str, Any]) -> TuningConfig:
    """The typed sweep of a plain container. Raises UsageError like `trial_from_container`."""
    try:
        return _SWEEP.validate_json(json.dumps(container))
    except ValidationError as error:
        place, of_dimension = "hydra.sweeper", tuple(field.name for field in fields(DimensionConfig))
        allowed = {f"{place}.space.{key}": of_dimension for key in container["space"]}
        allowed[place] = tuple(field.name for field in fields(TuningConfig))
        raise usage_error(error, place, allowed) from None


def trial_from_container(container: Mapping[str, Any]) -> TrialConfig:
    """The typed trial of a plain container.

    Raises:
        UsageError: a key that is unknown, missing or of the wrong type, or values that can't go together.
    """
    trial = _typed(_TRIAL, container)
    _check_together(trial)
    return trial


def trial_to_container(trial: TrialConfig) -> dict[str, Any]:
    """The plain container of a trial; `trial_from_container` gives the trial back."""
    container = _TRIAL.dump_python(trial, mode="json")
    assert isinstance(container, dict)
    return container


def composed_from_container(container: Mapping[str, Any]) -> Composed:
    """Parts what Hydra composed into the trial and what is around it. Raises like `trial_from_container`."""
    grid = _typed(_GRID, {key: container[key] for key in GRID_KEYS if key in container})
    around = GRID_KEYS | {"runs_dir", "seed", "trial_id", "candidate"}
    trial = trial_from_container({key: value for key, value in container.items() if key not in around})
    runs_dir = container.get("runs_dir")
    if not isinstance(runs_dir, str) or not runs_dir:
        raise UsageError(f"runs_dir={json.dumps(runs_dir)}: should be the path of a folder.")
    return Composed(trial, grid, runs_dir)


def _check_together(trial: TrialConfig) -> None:
    """Values that are each fine and can't go together."""
    scale, hardware, budget = trial.scale, trial.hardware, trial.budget
    problems = [*_block_problems(trial), *_tokenizer_problems(trial.tokenizer)]
    if scale.window_tokens < 2:
        problems.append("scale.window_tokens=1: a row needs at least 2 tokens to predict one.")
    if scale.window_tokens > scale.context_tokens:
        problems.append(
            f"scale.window_tokens={scale.window_tokens}: must not exceed scale.context_tokens={scale.context_tokens}."
        )
    rows, micro_rows = budget.rows_per_step, hardware.micro_batch_rows
    if micro_rows and rows % micro_rows:
        divisors = [number for number in range(1, rows + 1) if rows % number == 0]
        problems.append(
            f"hardware.micro_batch_rows={micro_rows}: must divide budget.rows_per_step={rows}. "
            f"Allowed: {_shortened(divisors)}."
        )
    problems += _mixture_problems(trial)
    if trial.corpus.val_fraction + trial.corpus.test_fraction >= 1:
        problems.append("corpus.val_fraction + corpus.test_fraction: must leave something to train on (sum below 1).")
    problems += _architecture_problems(trial)
    if problems:
        raise UsageError("\n".join(problems))


def _mixture_problems(trial: TrialConfig) -> list[str]:
    """Sources that are not there, weights without a sum, stages that do not follow one another."""
    mixture, sources = trial.mixture, trial.corpus.sources
    given = {"mixture.weights": mixture.weights}
    given |= {f"mixture.stages.{number}.weights": stage.weights for number, stage in enumerate(mixture.stages)}
    named = dict(given)
    if isinstance(mixture.max_epochs, dict):
        named["mixture.max_epochs"] = mixture.max_epochs
    problems = [
        f"{key}.{source}: the corpus has no such source. {nearest(source, sources)}"
        for key, values in named.items()
        for source in values
        if source not in sources
    ]
    problems += [
        f"{key}: at least one weight must be above 0." for key, values in given.items() if not any(values.values())
    ]
    shares = [stage.from_fraction for stage in mixture.stages]
    if shares != sorted(set(shares)):
        problems.append(
            f"mixture.stages: their from_fraction must rise; given {', '.join(f'{share:g}' for share in shares)}."
        )
    return problems or [
        f"mixture.weights: {source} has {share:.2g} of the budget's {trial.budget_rows:,} rows, less than one. "
        "Give it more weight, or 0, or a longer budget."
        for source in sorted({source for values in given.values() for source in values if values[source] > 0})
        if (share := mixture.budget_fraction(source)) * trial.budget_rows < 1
    ]


def _architecture_problems(trial: TrialConfig) -> list[str]:
    """An encoder where there is none to be, or none where there must be one; a backend that can't train here."""
    architecture, hardware, problems = trial.architecture, trial.hardware, []
    encodes = architecture.kind == "encoder_decoder"
    if encodes != (architecture.encoder_layers > 0):
        problems.append(
            f"architecture.encoder_layers={architecture.encoder_layers}: architecture.kind={architecture.kind} "
            + ("needs at least 1." if encodes else "has no encoder. Allowed: 0.")
        )
    if hardware.attention == "flex" and hardware.accelerator == "cpu":
        problems.append(
            "hardware.attention=flex: has no backward pass on a CPU (hardware.accelerator=cpu). "
            "Type hardware.attention=sdpa or hardware=gpu."
        )
    return problems


def _block_problems(trial: TrialConfig) -> list[str]:
    """What keeps the blocks from being built."""
    scale, block = trial.scale, trial.block
    problems = []
    if scale.d_model % scale.n_heads:
        problems.append(f"scale.d_model={scale.d_model}: must be a multiple of scale.n_heads={scale.n_heads}.")
    elif trial.rotary_width < 2:
        head_width = scale.d_model // scale.n_heads
        problems.append(
            f"block.partial_rotary_factor={block.partial_rotary_factor}: less than one pair of a head's {head_width} channels."
        )
    if trial.mlp_width < 8:
        least = 8 / scale.d_model
        problems.append(f"block.mlp_ratio={block.mlp_ratio}: less than 8 channels in the MLP; at least {least:.4g}.")
    if block.kind == "gptj" and trial.key_value_heads != scale.n_heads:
        problems.append(
            f"block.key_value_heads={block.key_value_heads}: gptj has one per query head. "
            "Leave it null, or take block=llama."
        )
    elif scale.n_heads % trial.key_value_heads:
        divisors = [number for number in range(1, scale.n_heads + 1) if scale.n_heads % number == 0]
        problems.append(
            f"block.key_value_heads={block.key_value_heads}: must divide scale.n_heads={scale.n_heads}. "
            f"Allowed: {_shortened(divisors)}."
        )
    return problems


# What a kind's text takes of the entries, its own <|endoftext|> included, and how many structural tokens besides.
_TEXT_ENTRIES = {"bpe": (256, 9), "bytes": (256, 9), "gpt2": (50_257, 8)}
# From 50 307 on, the release's ids are masks.
_CODEGEN2_ENTRIES, _CODEGEN2_MASKS = 51_200, 893


def _tokenizer_problems(tokenizer: TokenizerConfig) -> Iterator[str]:
    entries, masks = tokenizer.vocab_size, tokenizer.mask_sentinels
    if tokenizer.kind in _TEXT_ENTRIES:
        text, structural = _TEXT_ENTRIES[tokenizer.kind]
        if entries < text + structural + masks:
            yield (
                f"tokenizer.vocab_size={entries}: {text} entries of text ({tokenizer.kind}), {structural} special tokens "
                f"and tokenizer.mask_sentinels={masks} take at least {text + structural + masks}."
            )
    if tokenizer.kind == "codegen2" and (entries < _CODEGEN2_ENTRIES or masks > _CODEGEN2_MASKS):
        yield (
            f"tokenizer.vocab_size={entries}, tokenizer.mask_sentinels={masks}: CodeGen2's ids take at least "
            f"{_CODEGEN2_ENTRIES} entries and leave room for at most {_CODEGEN2_MASKS} masks."
        )
    if (tokenizer.path is None) == (tokenizer.kind == "file"):
        yield (
            f"tokenizer.path={json.dumps(tokenizer.path)}: belongs to tokenizer=file, which needs it; this is "
            f"tokenizer.kind={tokenizer.kind}."
        )
    if tokenizer.sha256 is not None and tokenizer.kind != "file":
        yield (
            f"tokenizer.sha256={tokenizer.sha256}: belongs to tokenizer=file; this is tokenizer.kind={tokenizer.kind}. "
            "Allowed: null."
        )


def _shortened(numbers: list[int]) -> str:
    shown = numbers if len(numbers) <= 12 else [*numbers[:11], "…", numbers[-1]]
    return ", ".join(map(str, shown))


def plain(config: object) -> Any:
    """Any typed config as plain containers, ready for JSON."""
    return TypeAdapter(type(config)).dump_python(config, mode="json")
