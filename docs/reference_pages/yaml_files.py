"""What a YAML file of conf/ says: its header, and the default and comment of each key."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from ablate import CONF


@dataclass(frozen=True)
class Entry:
    """A key of a file: its dotted path, its value as written, and the comment on its line."""

    key: str
    value: str
    comment: str


def header(path: Path) -> str:
    """The comment lines at the top of a file, without Hydra's package and without commands."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        text = line.lstrip("#").strip()
        if not text.startswith(("@package", "python -m ablate", "optimizer=", "precision=", "schedule.")):
            lines.append(text)
    return " ".join(" ".join(lines).split()).removesuffix(":")


def entries(path: Path) -> list[Entry]:
    """The keys of a file, with those of the files that its defaults name from its own folder."""
    text = path.read_text(encoding="utf-8")
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode):
        return []
    own = list(_entries(root, text.splitlines(), ""))
    content = yaml.safe_load(text)
    inherited = [name for name in content.get("defaults", []) if isinstance(name, str) and name != "_self_"]
    below = {entry.key: entry for name in inherited for entry in entries(path.parent / f"{name}.yaml")}
    if path == CONF / "config.yaml":
        below = {}
    return list({**below, **{entry.key: entry for entry in own}}.values())


def _entries(node: yaml.MappingNode, lines: list[str], above: str) -> Iterator[Entry]:
    for key_node, value_node in node.value:
        key = f"{above}{key_node.value}"
        if key in ("defaults", "hydra"):
            continue
        if isinstance(value_node, yaml.MappingNode) and not value_node.flow_style and value_node.value:
            line = lines[key_node.end_mark.line][key_node.end_mark.column + 1 :]
            if comment := _comment(line):
                yield Entry(key, "", comment)
            yield from _entries(value_node, lines, f"{key}.")
            continue
        end = value_node.end_mark
        written = lines[value_node.start_mark.line][value_node.start_mark.column : end.column]
        if value_node.start_mark.line != end.line:
            written = "…"
        yield Entry(key, written, _comment(lines[end.line][end.column :]))


def _comment(rest: str) -> str:
    return rest.strip().removeprefix("#").strip() if rest.strip().startswith("#") else ""
