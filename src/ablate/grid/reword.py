"""Hydra's errors in our words: what was given, what is allowed, what to type instead."""

import re
import shlex
from collections.abc import Container, Iterable, Sequence
from dataclasses import fields
from difflib import SequenceMatcher

from hydra.errors import ConfigCompositionException, MissingConfigException, OverrideParseException
from omegaconf.errors import MissingMandatoryValue

from ablate.config.options import choices_of, choices_with, groups, keys, keys_of
from ablate.config.tuning import TuningConfig
from ablate.errors import nearest
from ablate.scheduling.launchers.hydra import quoted

# The keys below hydra.sweeper that users set.
SWEEPER_KEYS = ("exclude", "zip", *(field.name for field in fields(TuningConfig)))
# What ablate sets by itself.
INTERNAL = ("trial_id", "candidate", "init_from_id")
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


def reworded(error: Exception, words: Sequence[str]) -> str:
    """Return the message for an error that Hydra raised for these overrides."""
    text = str(error).strip()
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, choice = error.missing_cfg_file.rpartition("/")
        return f"{group}={choice}: no such choice. {nearest(choice, error.options or choices_of(group))}"
    if isinstance(error, OverrideParseException):
        return unparsed(error.override or "", text)
    if isinstance(error, ConfigCompositionException) and (match := re.match(r"Could not override '([^']+)'", text)):
        # OmegaConf names a part of the key, or one inside of a mapping.
        full_key = getattr(error.__cause__, "full_key", None) or ""
        return unknown_key(full_key if full_key.startswith(match[1]) else match[1], words)
    if match := re.match(r"Multiple values for (\S+?)\.", text):
        return f"+{match[1]}: the group has a choice already. Leave the + out: {match[1]}=CHOICE"
    if isinstance(error, MissingMandatoryValue):
        return f"{error.full_key}: has no default; give it on the command line: {error.full_key}=…"
    if text.startswith("Config group override must be"):
        return "\n".join(_not_a_choice(word) for word in words if _is_group(word) and not _is_name(word)) or text
    removed = [word for word in words if word.startswith("~")]
    if removed and re.match("Could not delete|Interpolation key", text):
        return f"{', '.join(removed)}: a key that trials need, or one that has no value here. Leave it out."
    if match := re.match(r"Interpolation key '([^']+)' not found", text):
        word = next((word for word in words if f"${{{match[1]}}}" in word), match[1])
        return f"{word}: refers to an unknown key. {_suggestion(match[1], words)}"
    first_line_only = r"Could not find match for|No match in the defaults list"
    return text.splitlines()[0] if re.search(first_line_only, text) else text


def unparsed(word: str, problem: str) -> str:
    """Return the message for a word that Hydra's grammar rejects."""
    key, _, value = word.partition("=")
    if match := re.search(r"Unknown function '(\w+)'\s+Available: (\S+)", problem):
        return (
            f"{word}: {match[1]} is no function. {nearest(match[1], match[2].split(','))} If this is text, quote it: "
            + (with_quotes(key, value))
        )
    if not re.fullmatch(r"[+~]*[A-Za-z_][\w.@/]*", key):
        return f"{word}: {key!r} is no key. Options have the form key=value, as objective=prefix."
    if value.startswith("="):
        return f"{word}: has two equals signs. Type {key}={value.lstrip('=')}"
    if value.endswith(","):
        return f"{word}: ends with a comma. Type {shlex.quote(word.rstrip(','))}"
    if value.startswith(("{", "[")):
        reason = problem.splitlines()[0]
        return f"{word}: cannot be read ({reason}). Lists are [a, b], mappings are {{key: value, key: value}}."
    return f"{word}: has characters that need quotes. Type {with_quotes(key, value)}"


def with_quotes(key: str, value: str) -> str:
    """Return an override as a shell takes it, with its value quoted for Hydra too."""
    inner = quoted(value) if '"' in value or value.endswith("\\") else f'"{value}"'
    word = f"{key}={inner}"
    if "'" not in word:
        return f"'{word}'"
    return '"' + re.sub(r'(["\\$`])', r"\\\1", word) + '"'


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
    return f"{key}: unknown key. {_suggestion(key, words)}{hint}"


def _unknown_of_launcher(key: str, words: Sequence[str]) -> str:
    """Return the message for an unknown key of the launcher that a command chooses."""
    chosen = [word.partition("=")[2] for word in words if word.startswith(("launcher=", "hydra/launcher="))]
    launcher = chosen[-1] if chosen else "local"
    allowed = {name.rpartition(".")[2] for name in keys_of("hydra/launcher", launcher)} - {"_target_", "launcher"}
    name = key.removeprefix("hydra.launcher.")
    return f"launcher.{name}: unknown key of launcher={launcher}. {nearest(name, allowed)}"


def _suggestion(key: str, words: Sequence[str]) -> str:
    """Return the likely meaning of an unknown key, and the keys with the same parent."""
    leaves = [*keys(_chosen(words)), *choices_only(), *(f"hydra.sweeper.{name}" for name in SWEEPER_KEYS)]
    known = dict.fromkeys(node for leaf in leaves if leaf not in INTERNAL for node in _with_parents(leaf))
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


def _with_parents(key: str) -> list[str]:
    parts = key.split(".")
    return [".".join(parts[: depth + 1]) for depth in range(len(parts))]


def _is_group(word: str) -> bool:
    return word.partition("=")[0].lstrip("+~") in groups()


def _is_name(word: str) -> bool:
    value = word.partition("=")[2]
    return not re.fullmatch(r"[-+.\d_e]*|true|false|null|\{.*\}", value, re.IGNORECASE)


def _not_a_choice(word: str) -> str:
    group, _, value = word.partition("=")
    return f"{word}: no such choice. {nearest(value, choices_of(group.lstrip('+~')))}"
