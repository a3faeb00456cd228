"""`generate`: text that a finished trial writes after a prompt."""

import sys
from dataclasses import dataclass, replace

from ablate.config.parse import trial_from_container
from ablate.config.trial import TrialConfig
from ablate.console import counted, make_console, say
from ablate.errors import UsageError
from ablate.objectives.objective import Objective
from ablate.records.ledger import TrialFolder
from ablate.verbs.arguments import Arguments, trained_trial_named

DEFAULT_TOKENS = 128


@dataclass(frozen=True)
class Request:
    """What the flags ask for.

    Attributes:
        prompt: the text before what is written; "" for the start of a document.
        suffix: the text after it; None where nothing follows.
        max_tokens: None for what the context has room for, at most `DEFAULT_TOKENS`.
    """

    prompt: str
    suffix: str | None
    max_tokens: int | None
    temperature: float
    top_p: float
    seed: int

    @classmethod
    def of(cls, arguments: Arguments) -> "Request":
        """Read the flags. Raises UsageError."""
        flags = arguments.flags
        prompt = flags.get("--prompt", "")
        tokens = flags.get("--max-tokens")
        return cls(
            prompt=sys.stdin.read() if prompt == "-" else prompt,
            suffix=flags.get("--suffix"),
            max_tokens=None if tokens is None else int(_number("--max-tokens", tokens, "a whole number above 0", 1)),
            temperature=_number("--temperature", flags.get("--temperature", "0"), "a number from 0 on", 0),
            top_p=_number("--top-p", flags.get("--top-p", "1"), "a number above 0 and at most 1", 1e-9, 1),
            seed=int(_number("--seed", flags.get("--seed", "0"), "a whole number from 0 on", 0)),
        )


def _number(flag: str, text: str, allowed: str, least: float, most: float = float("inf")) -> float:
    try:
        value = int(text) if allowed.startswith("a whole") else float(text)
    except ValueError:
        value = float("nan")
    if not least <= value <= most or value == float("inf"):
        raise UsageError(f"{flag} {text}: should be {allowed}.")
    return value


def main(arguments: Arguments) -> int:
    """Print what a trial writes; what ended it goes to standard error.

    Raises:
        UsageError: an unknown or unfinished trial, wrong flags, a prompt that does not fit the context, or a suffix for
            a model that was not trained to infill.
        FailureError: the trial's weights were deleted.
    """
    if len(arguments.names) != 1:
        raise arguments.error("takes one trial id")
    request = Request.of(arguments)
    folder = trained_trial_named(arguments.ledger, arguments.names[0])
    trial = trial_from_container(folder.frozen())
    if request.suffix is not None and Objective.of(trial).infilling_task is None:
        raise UsageError(
            f"--suffix: {folder.trial_id} was not trained to infill; no row of its objective had a middle. Leave "
            "--suffix out, or take a trial with infill=… or objective=span_corruption."
        )
    text, ending = _written(folder, trial, request)
    print(text)
    say(make_console(stderr=True), f"({ending})", "dim")
    return 0


def _written(folder: TrialFolder, trial: TrialConfig, request: Request) -> tuple[str, str]:
    """Return the text, and how it ended."""
    from ablate.data.tokens.shards import open_shards
    from ablate.evaluation.generate import Problem, generate
    from ablate.evaluation.held_out import HeldOut
    from ablate.evaluation.sampling import Sampling
    from ablate.model.build import build_model
    from ablate.objectives.randomness import keyed_rng
    from ablate.training.weights import trained_weights

    held_out = HeldOut(trial, open_shards(trial), "test")
    tokenizer, prompts = held_out.tokenizer, held_out.prompts
    before_T, after_T = tokenizer.encode([request.prompt, request.suffix or ""])
    if request.suffix is not None:
        prompt = prompts.infill(before_T, after_T, keyed_rng(request.seed, 0, "format"))
        assert prompt is not None, "checked above"
    else:
        prompt = prompts.continuation(before_T) if len(before_T) else prompts.start()
    tokens = _tokens(request, len(prompt.tokens_T), trial.scale.context_tokens)
    # FlexAttention needs a GPU.
    trial = replace(trial, hardware=replace(trial.hardware, attention="sdpa"))
    model = build_model(trial, trial.tokenizer.vocab_size)
    model.load_state_dict(trained_weights(folder.model_path))
    sampling = Sampling(request.temperature, request.top_p, request.seed)
    ends = (tokenizer.special.end_of_text, tokenizer.special.end_of_mask)
    problem = Problem("prompt", prompt, samples=[0], max_tokens=tokens)
    [sample] = generate(model.eval(), tokenizer, [problem], sampling, rows=1, end_tokens=ends)
    ending = "at --max-tokens" if sample.finished_by == "max_tokens" else f"ended by {sample.end}"
    return tokenizer.shown(sample.tokens_T), f"{counted(len(sample.tokens_T), 'token')}, {ending}"


def _tokens(request: Request, prompt_tokens: int, context_tokens: int) -> int:
    """Return how many tokens to write. The last one is not read. Raises UsageError where they do not fit."""
    room = context_tokens - prompt_tokens + 1
    lengths = f"the prompt has {prompt_tokens} tokens with its special ones, and the model reads {context_tokens}"
    if room < 1:
        raise UsageError(f"--prompt: {lengths}. Shorten the text by {counted(1 - room, 'token')}.")
    if request.max_tokens is not None and request.max_tokens > room:
        raise UsageError(f"--max-tokens {request.max_tokens}: {lengths}. Type at most --max-tokens {room}.")
    return request.max_tokens or min(room, DEFAULT_TOKENS)
