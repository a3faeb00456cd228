"""Keys and choices that the configuration lacks: what is allowed and what to type. Reads the YAML without Hydra."""

import re
import shlex
from collections.abc import Container, Iterable, Iterator, Sequence
from difflib import SequenceMatcher

from ablate.config.options import choices_of, choices_with, groups, keys, keys_of
from ablate.errors import UsageError, nearest

# Hydra's own parts of the configuration.
BY_HYDRA = ("hydra", "launcher")
LITERALS = ("null", "true", "false")
# What ablate sets by itself.
INTERNAL = ("trial_id", "candidate", "init_from_id")
INTERNAL_OF_SWEEPER = ("_target_", "params", "verb", "is_grid", "command", "names")
# Mappings whose names are the user's.
OPEN = ("corpus.sources", "objective.tasks", "lesson.contrasts", "mixture.weights", "evaluation.suites")
OWN_WEIGHTS = "mixture=own 'mixture.weights={code: 1, docs: 3}', with each source of the corpus and its weight."
# Names of other programs.
SYNONYMS = {
    "batch_size": "budget.rows_per_step",
    "max_steps": "budget.train_tokens",
    "max_tokens": "budget.train_tokens",
    "steps": "budget.train_tokens",
    "dataset": "corpus",
    "data": "corpus",
    "model": "scale",
    "hidden_size": "scale.d_model",
    "n_embd": "scale.d_model",
    "num_layers": "scale.n_layers",
    "num_heads": "scale.n_heads",
    "seq_len": "scale.context_tokens",
    "block_size": "scale.context_tokens",
    "device": "hardware",
    "dtype": "precision",
    "grad_clip": "optimizer.clip_norm",
    "min_lr": "schedule.final_fraction",
    "warmup_steps": "schedule.warmup_fraction",
    "num_workers": "hardware.loader_workers",
    "seeds": "replicates",
    "output_dir": "runs_dir",
    "resume": "init_from",
    "wandb": "tracking",
    "baseline": "lesson.baseline",
}


def check_names(words: Sequence[str]) -> None:
    """Reject choices and keys that no composition of our YAML has; what depends on the others is left to Hydra.

    Raises:
        UsageError: a word's choice or key is unknown.
    """
    split = [word.partition("=") for word in words]
    pairs = [(key, value) for key, _, value in split if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.]*", key)]
    for group, value in pairs:
        if group in groups() and re.fullmatch(r"[A-Za-z]\w*(,[A-Za-z]\w*)*", value) and value.lower() not in LITERALS:
            for choice in value.split(","):
                if choice not in choices_of(group):
                    raise UsageError(unknown_choice(group, choice))
    defaults = _nodes(keys())
    if not (others := [key for key, _ in pairs if key not in defaults and key.split(".")[0] not in BY_HYDRA]):
        return
    leaves = {*keys({group: choices_of(group) for group in groups()}), *choices_only()}
    nodes = _nodes(leaves)
    for key in others:
        *above, _ = _with_parents(key)
        # A leaf may be an empty mapping that a choice fills.
        if key not in nodes and leaves.isdisjoint(above) and not any(key.startswith(f"{parent}.") for parent in OPEN):
            raise UsageError(unknown_key(key, words))


def unknown_choice(group: str, choice: str, allowed: Iterable[str] = ()) -> str:
    """Return the message for a choice that a config group lacks."""
    return f"{group}={choice}: no such choice. {nearest(choice, allowed or choices_of(group))}"


def unknown_key(key: str, words: Sequence[str]) -> str:
    """Return the message for an override of a key that the composed configuration lacks."""
    if key.startswith("hydra.launcher."):
        return _unknown_of_launcher(key, words)
    if key.startswith("mixture.weights."):
        return f"{key}: this mixture does not name it. For weights of your own: {OWN_WEIGHTS}"
    if others := choices_with(key):
        if several := [word for word in words if "," in word and word.partition("=")[0] == key.partition(".")[0]]:
            return f"{key}: not every choice of {several[0]} has it. Run those that do as a grid of their own."
        return f"{key}: belongs to {' or '.join(others)}. Type that too, or leave {key} out."
    parent = key.rpartition(".")[0]
    if parent in keys(_chosen(words)) and parent not in OPEN:
        return f"{key}: {parent} has no keys below it. Type {parent}=VALUE"
    word = next((word for word in words if word.partition("=")[0] in (key, parent)), f"{key}=…")
    hint = f" To add a name of your own: {shlex.quote(f'+{word}')}" if parent in OPEN else ""
    return f"{key}: unknown key. {suggestion(key, words)}{hint}"


def _unknown_of_launcher(key: str, words: Sequence[str]) -> str:
    """Return the message for an unknown key of the launcher that a command chooses."""
    chosen = [word.partition("=")[2] for word in words if word.startswith(("launcher=", "hydra/launcher="))]
    launcher = chosen[-1] if chosen else "local"
    allowed = {name.rpartition(".")[2] for name in keys_of("hydra/launcher", launcher)} - {"_target_", "launcher"}
    name = key.removeprefix("hydra.launcher.")
    return f"launcher.{name}: unknown key of launcher={launcher}. {nearest(name, allowed)}"


def suggestion(key: str, words: Sequence[str]) -> str:
    """Return the likely meaning of an unknown key, and the keys with the same parent."""
    leaves = [*keys(_chosen(words)), *choices_only(), *_sweeper_keys()]
    known = _nodes(leaf for leaf in leaves if leaf not in INTERNAL)
    parent, _, last = key.rpartition(".")
    while parent and parent not in known:
        parent, _, last = parent.rpartition(".")
    siblings = {node for node in known if node.rpartition(".")[0] == parent} - {"hydra"}
    likely = _likely(last, siblings if parent in OPEN else known, siblings)
    hint = f"Did you mean {' or '.join(likely[:3])}? " if likely else ""
    allowed = ", ".join(sorted(node.rpartition(".")[2] for node in siblings)) or "nothing yet"
    return f"{hint}Allowed: {allowed}."


def _likely(last: str, known: Iterable[str], siblings: Container[str]) -> list[str]:
    """Return the keys that the last part of an unknown key may stand for; keys with the same parent come first."""
    names = {node: node.rpartition(".")[2] for node in known}
    if same := [node for node, name in names.items() if name == last]:
        return same
    if (synonym := SYNONYMS.get(last.lower().replace("-", "_"))) is not None:
        return [synonym]
    if initials := [
        node for node, name in names.items() if last == "".join(part[0] for part in name.split("_") if "_" in name)
    ]:
        return initials
    scores = {node: SequenceMatcher(None, last, name).ratio() for node, name in names.items()}
    for node, name in names.items():
        scores[node] += 0.1 * (node in siblings) + 0.3 * (last in name.split("_"))
    best = max(scores.values(), default=0.0)
    return [node for node, score in scores.items() if score == best > 0.7]


def _chosen(words: Sequence[str]) -> dict[str, list[str]]:
    """Return the choices of the config groups that a command sets."""
    chosen = {group: value.strip("[]").split(",") for group, _, value in (word.partition("=") for word in words)}
    return {group: names for group, names in chosen.items() if set(names) <= set(choices_of(group))}


def choices_only() -> list[str]:
    """Return the groups that set no keys of their own."""
    return [group for group in groups() if not any(key.startswith(f"{group}.") for key in keys())]


def _sweeper_keys() -> Iterator[str]:
    """Yield the keys below `hydra.sweeper` that users set."""
    names = dict.fromkeys(key.split(".")[1] for key in keys_of("hydra/sweeper", "ablate"))
    yield from (f"hydra.sweeper.{name}" for name in names if name not in INTERNAL_OF_SWEEPER)


def _nodes(leaves: Iterable[str]) -> dict[str, None]:
    return dict.fromkeys(node for leaf in leaves for node in _with_parents(leaf))


def _with_parents(key: str) -> list[str]:
    parts = key.split(".")
    return [".".join(parts[: depth + 1]) for depth in range(len(parts))]
