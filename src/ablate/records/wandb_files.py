"""W&B's offline files, read directly.

The supported reader is the command `wandb leet inspect --json`, which takes seconds for a run; a test holds that this
one gives what it gives. A file is a header of seven bytes, then blocks of 32 KiB as in LevelDB's logs: records of a
checksum, a length and a type (whole, first, middle, last), which add up to one message of W&B's protocol each.
"""

import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MAGIC = b":W&B"
BLOCK_BYTES, FILE_HEADER_BYTES = 32_768, 7
HEADER = struct.Struct("<IHB")
WHOLE, FIRST, LAST = 1, 2, 4


@dataclass
class RunFile:
    """What one offline file holds.

    Attributes:
        config: as it was given to W&B.
        summary: what the run came to.
        rows: of its history, in order; `_step` among the names.
        problem: what is wrong with the file; None where it is whole.
    """

    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    problem: str | None = None


def read_run(path: Path) -> RunFile:
    """All that is whole in a file; of a torn one what stands before the tear, with the problem named."""
    from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]

    found, content = RunFile(), path.read_bytes()
    if not content.startswith(MAGIC):
        found.problem = f"{path}: no file of W&B's. Move it away."
        return found
    has_ended = False
    try:
        for message in _messages(content):
            record = Record.FromString(message)
            kind = record.WhichOneof("record_type")
            if kind == "history":
                found.rows.append({_name(item): _value(item.value_json) for item in record.history.item})
            elif kind == "summary":
                found.summary.update({_name(item): _value(item.value_json) for item in record.summary.update})
            elif kind in ("run", "config"):
                config = record.run.config if kind == "run" else record.config
                found.config.update({_name(item): _value(item.value_json) for item in config.update})
            has_ended = kind == "exit" or has_ended
    except _TornError as error:
        found.problem = f"{path}: damaged after {error} bytes; the {len(found.rows)} logged rows before are read."
    if found.problem is None and not has_ended:
        found.problem = (
            f"{path}: has no end: a run under way, or one that was killed. Its {len(found.rows)} rows are read."
        )
    return found


class _TornError(Exception):
    """The place, in bytes, from which on nothing can be read."""


def _messages(content: bytes) -> Iterator[bytes]:
    place, parts = FILE_HEADER_BYTES, b""
    while place < len(content):
        left = BLOCK_BYTES - place % BLOCK_BYTES
        if left < HEADER.size:
            place += left
            continue
        if place + HEADER.size > len(content):
            raise _TornError(place)
        checksum, length, kind = HEADER.unpack_from(content, place)
        end = place + HEADER.size + length
        part = content[place + HEADER.size : end]
        if end > len(content) or zlib.crc32(part, zlib.crc32(bytes([kind]))) != checksum:
            raise _TornError(place)
        parts = part if kind in (WHOLE, FIRST) else parts + part
        if kind in (WHOLE, LAST):
            yield parts
        place = end


def _name(item: Any) -> str:
    return str(item.key) or ".".join(item.nested_key)


def _value(text: str) -> Any:
    """Most values are numbers, which `float` reads in a third of the time."""
    try:
        return float(text)
    except ValueError:
        return json.loads(text)
