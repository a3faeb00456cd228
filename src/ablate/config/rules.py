"""Rules about a trial's values that are valid one by one and cannot be combined.

To add a rule, write a function of a trial that yields a message per problem (what was given, what is allowed, what to
type), and name it in `RULES`. Elsewhere stand rules about the parameters of one component (its `problem`), those that
need an objective's functions or this machine (`ablate.grid.check`), those about `lesson` (`ablate.grid.declaration`)
and those about seeds (`ablate.grid.expand`).
"""

import json
from collections.abc import Callable, Iterator

from ablate.config.trial import TrialConfig
from ablate.errors import UsageError, nearest


def check_values(trial: TrialConfig) -> None:
    """Check a trial by all rules. Raises UsageError with a line per problem."""
    if problems := [problem for rule in RULES for problem in rule(trial)]:
        raise UsageError("\n".join(problems))


def _window(trial: TrialConfig) -> Iterator[str]:
    scale = trial.scale
    if scale.window_tokens < 2:
        yield "scale.window_tokens=1: a row needs at least 2 tokens to predict one."
    if scale.window_tokens > scale.context_tokens:
        yield f"scale.window_tokens={scale.window_tokens}: must not exceed scale.context_tokens={scale.context_tokens}."


def _heads(trial: TrialConfig) -> Iterator[str]:
    scale, block = trial.scale, trial.block
    if scale.d_model % scale.n_heads:
        yield f"scale.d_model={scale.d_model}: must be a multiple of scale.n_heads={scale.n_heads}."
    elif trial.rotary_width < 2:
        yield (
            f"block.partial_rotary_factor={block.partial_rotary_factor}: less than one pair of a head's "
            f"{trial.head_width} channels."
        )
    if block.kind == "gptj" and trial.key_value_heads != scale.n_heads:
        yield (
            f"block.key_value_heads={block.key_value_heads}: gptj has one per query head. "
            "Leave it null, or take block=llama."
        )
    elif scale.n_heads % trial.key_value_heads:
        yield (
            f"block.key_value_heads={block.key_value_heads}: must divide scale.n_heads={scale.n_heads}. "
            f"Allowed: {_divisors(scale.n_heads)}."
        )


def _mlp(trial: TrialConfig) -> Iterator[str]:
    if trial.mlp_width < 8:
        min_ratio = 8 / trial.scale.d_model
        yield f"block.mlp_ratio={trial.block.mlp_ratio}: less than 8 channels in the MLP; at least {min_ratio:.4g}."


def _encoder_layers(trial: TrialConfig) -> Iterator[str]:
    architecture = trial.architecture
    if architecture.has_encoder != (architecture.encoder_layers > 0):
        yield (
            f"architecture.encoder_layers={architecture.encoder_layers}: architecture.kind={architecture.kind} "
            + ("needs at least 1." if architecture.has_encoder else "has no encoder. Allowed: 0.")
        )


def _attention_backend(trial: TrialConfig) -> Iterator[str]:
    if trial.hardware.attention == "flex" and trial.hardware.accelerator == "cpu":
        yield (
            "hardware.attention=flex: has no backward pass on a CPU (hardware.accelerator=cpu). "
            "Type hardware.attention=sdpa or hardware=gpu."
        )


def _ranks(trial: TrialConfig) -> Iterator[str]:
    hardware = trial.hardware
    layout = f"hardware.devices={hardware.devices}" + (
        f" hardware.nodes={hardware.nodes}" if hardware.nodes > 1 else ""
    )
    if hardware.strategy == "single" and hardware.ranks > 1:
        yield (
            f"hardware.strategy=single: takes one device, and {layout} are {hardware.ranks}. Type "
            "hardware.strategy=auto, or hardware.devices=1 hardware.nodes=1."
        )
    if hardware.ranks > trial.budget.rows_per_step:
        yield (
            f"{layout}: {hardware.ranks} ranks share the rows of a step, and each needs at least one "
            f"(budget.rows_per_step={trial.budget.rows_per_step}). Take at most {trial.budget.rows_per_step} devices."
        )


def _price(trial: TrialConfig) -> Iterator[str]:
    price, date = trial.hardware.price_per_device_hour, trial.hardware.price_date
    if price is not None and date is None:
        yield (
            f"hardware.price_per_device_hour={price:g}: prices change, so a price needs its date. Type "
            "hardware.price_date=YYYY-MM-DD too."
        )
    if price is None and date is not None:
        yield f"hardware.price_date={date}: is the date of a price. Type hardware.price_per_device_hour=DOLLARS too."


# Vocabulary entries that a kind's text takes, its own <|endoftext|> included, and structural tokens beside them.
_TEXT_ENTRIES = {"bpe": (256, 9), "bytes": (256, 9), "gpt2": (50_257, 8)}
# From 50 307 on, the release's ids are masks.
_CODEGEN2_ENTRIES, _CODEGEN2_MASKS = 51_200, 893


def _vocabulary(trial: TrialConfig) -> Iterator[str]:
    tokenizer = trial.tokenizer
    entries, masks = tokenizer.vocab_size, tokenizer.mask_sentinels
    if tokenizer.kind in _TEXT_ENTRIES:
        text, structural = _TEXT_ENTRIES[tokenizer.kind]
        if entries < text + structural + masks:
            yield (
                f"tokenizer.vocab_size={entries}: {text} entries of text ({tokenizer.kind}), {structural} special "
                f"tokens and tokenizer.mask_sentinels={masks} take at least {text + structural + masks}."
            )
    if tokenizer.kind == "codegen2" and (entries < _CODEGEN2_ENTRIES or masks > _CODEGEN2_MASKS):
        yield (
            f"tokenizer.vocab_size={entries}, tokenizer.mask_sentinels={masks}: CodeGen2's ids take at least "
            f"{_CODEGEN2_ENTRIES} entries and leave room for at most {_CODEGEN2_MASKS} masks."
        )


def _tokenizer_file(trial: TrialConfig) -> Iterator[str]:
    tokenizer = trial.tokenizer
    if (tokenizer.path is None) == tokenizer.is_file:
        yield (
            f"tokenizer.path={json.dumps(tokenizer.path)}: belongs to tokenizer=file|hub, which need it; this is "
            f"tokenizer.kind={tokenizer.kind}."
        )
    if tokenizer.sha256 is not None and not tokenizer.is_file:
        yield (
            f"tokenizer.sha256={tokenizer.sha256}: belongs to tokenizer=file|hub; this is "
            f"tokenizer.kind={tokenizer.kind}. Allowed: null."
        )


def _momentum(trial: TrialConfig) -> Iterator[str]:
    optimizer = trial.optimizer
    if (optimizer.momentum is None) == (optimizer.kind == "muon"):
        yield (
            f"optimizer.momentum={json.dumps(optimizer.momentum)}: belongs to optimizer=muon, which needs it; this is "
            f"optimizer.kind={optimizer.kind}. AdamW has optimizer.beta1."
        )


def _schedule(trial: TrialConfig) -> Iterator[str]:
    schedule = trial.schedule
    key = "cooldown_fraction" if schedule.kind == "wsd" else "flat_fraction"
    end = getattr(schedule, key)
    if schedule.warmup_fraction + end >= 1:
        yield (
            f"schedule.{key}={end:g}: with schedule.warmup_fraction={schedule.warmup_fraction:g} nothing of "
            "schedule.decay_tokens is left between them. Their sum must be below 1."
        )


def _continuation(trial: TrialConfig) -> Iterator[str]:
    schedule, mixture = trial.schedule, trial.mixture
    setting = f"schedule.continues_at=[{', '.join(map(str, schedule.continues_at))}]"
    if not schedule.continues_at:
        return
    borders = [*schedule.continues_at, trial.budget.train_tokens]
    if schedule.kind != "wsd":
        yield f"{setting}: continues a stable phase, and schedule.kind={schedule.kind} has none. Type schedule=wsd."
    elif borders != sorted(set(borders)):
        yield f"{setting}: must rise, below budget.train_tokens={trial.budget.train_tokens}."
    elif schedule.continues_at[-1] > (1 - schedule.cooldown_fraction) * schedule.decay_tokens:
        start = round((1 - schedule.cooldown_fraction) * schedule.decay_tokens)
        yield f"{setting}: the cooldown begins at {start} train tokens, before that. Continue at {start} or earlier."
    if mixture.epochs is not None or mixture.stages or trial.objective.stages:
        yield (
            f"{setting}: mixture.epochs, mixture.stages and objective.stages are parts of a budget, so a trial with "
            "another budget has read other rows. Leave them out."
        )


def _initial_values(trial: TrialConfig) -> Iterator[str]:
    if trial.init_scheme == "codegen" and trial.scale.mup_base_width is not None:
        yield (
            f"init_scheme=codegen: sets each matrix by its width, and so does muP (scale.mup_base_width="
            f"{trial.scale.mup_base_width}). Type init_scheme=normal, or scale.mup_base_width=null."
        )


def _leading_token(trial: TrialConfig) -> Iterator[str]:
    if trial.mixture.document_mask and not trial.mixture.leading_end_of_text:
        yield (
            "mixture.leading_end_of_text=false: with mixture.document_mask=true no text follows <|endoftext|>, and "
            "every score begins with it. Type mixture.document_mask=false too, or leave it true."
        )


def _splits(trial: TrialConfig) -> Iterator[str]:
    if trial.corpus.val_fraction + trial.corpus.test_fraction >= 1:
        yield "corpus.val_fraction + corpus.test_fraction: must leave something to train on (sum below 1)."


def _mixture_sources(trial: TrialConfig) -> Iterator[str]:
    mixture, sources = trial.mixture, trial.corpus.sources
    max_epochs = {"mixture.max_epochs": mixture.max_epochs} if isinstance(mixture.max_epochs, dict) else {}
    for key, values in (_weights(trial) | max_epochs).items():
        for source in values:
            if source not in sources:
                yield f"{key}.{source}: the corpus has no such source. {nearest(source, sources)}"


def _mixture_weights(trial: TrialConfig) -> Iterator[str]:
    if any(_mixture_stages(trial)):
        return
    weights = _weights(trial)
    if empty := [key for key, values in weights.items() if not any(values.values())]:
        yield from (f"{key}: at least one weight must be above 0." for key in empty)
        return
    for source in sorted({source for values in weights.values() for source in values if values[source] > 0}):
        fraction = trial.mixture.budget_fraction(source)
        if source in trial.corpus.sources and fraction * trial.budget_rows < 1:
            yield (
                f"mixture.weights: {source} has {fraction:.2g} of the budget's {trial.budget_rows:,} rows, less than "
                "one. Give it more weight, or 0, or a longer budget."
            )


def _mixture_stages(trial: TrialConfig) -> Iterator[str]:
    fractions = [stage.from_fraction for stage in trial.mixture.stages]
    if fractions != sorted(set(fractions)):
        listed = ", ".join(f"{fraction:g}" for fraction in fractions)
        yield f"mixture.stages: their from_fraction must rise; given {listed}."


def _weights(trial: TrialConfig) -> dict[str, dict[str, float]]:
    """Return the mixture's weights by key: its own and those of each stage."""
    stages = {f"mixture.stages.{number}.weights": stage.weights for number, stage in enumerate(trial.mixture.stages)}
    return {"mixture.weights": trial.mixture.weights} | stages


def _divisors(number: int) -> str:
    divisors = [divisor for divisor in range(1, number + 1) if number % divisor == 0]
    shown = divisors if len(divisors) <= 12 else [*divisors[:11], "…", divisors[-1]]
    return ", ".join(map(str, shown))


RULES: tuple[Callable[[TrialConfig], Iterator[str]], ...] = (
    _heads,
    _mlp,
    _vocabulary,
    _tokenizer_file,
    _window,
    _mixture_sources,
    _mixture_weights,
    _mixture_stages,
    _splits,
    _momentum,
    _schedule,
    _continuation,
    _initial_values,
    _leading_token,
    _encoder_layers,
    _attention_backend,
    _ranks,
    _price,
)
