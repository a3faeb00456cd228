"""W&B's offline files, read directly.

The supported reader is the command `wandb leet inspect --json`, which takes seconds for a run; a test holds that this
one gives what it gives. A file is a header of seven bytes, then blocks of 32 KiB as in LevelDB's logs: records of a
checksum, a length and a type (whole, first, middle, last), which add up to one message of W&B's protocol each.
"""

import json
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# W&B's mark, its magic number, and the version of the format.
FILE_HEADER = b":W&B\xe1\xbe\x00"
BLOCK_BYTES = 32_768
HEADER = struct.Struct("<IHB")
WHOLE, FIRST, LAST = 1, 2, 4


@dataclass
class RunFile:
    """What one offline file holds.

    Attributes:
        config: as it was given to W&B.
        rows: of its history, in order; `_step` among the names.
        problem: what is wrong with the file; None where it is whole.
        updates: messages that change the summary. W&B writes all of it after each row, so that most are never read.
    """

    config: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    problem: str | None = None
    updates: list[bytes] = field(default_factory=list, repr=False)

    def summary(self, prefix: str = "") -> dict[str, Any]:
        """What the run came to, under the names that begin with `prefix`."""
        from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]

        mark, found = prefix.encode(), {}
        for message in self.updates:
            if mark in message:
                found.update(_values(Record.FromString(message).summary.update))
        return {name: value for name, value in found.items() if name.startswith(prefix)}


def read_run(path: Path) -> RunFile:
    """All that is whole in a file; of a torn one what stands before the tear, with the problem named."""
    from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]

    found, content = RunFile(), path.read_bytes()
    found.problem = _foreign(path, content)
    if found.problem:
        return found
    has_ended = False
    try:
        for message in _messages(content):
            record = Record.FromString(message)
            kind = record.WhichOneof("record_type")
            if kind == "history":
                found.rows.append(_values(record.history.item))
            elif kind == "summary":
                found.updates.append(message)
            elif kind in ("run", "config"):
                config = record.run.config if kind == "run" else record.config
                found.config.update(_values(config.update))
            has_ended = kind == "exit" or has_ended
    except _TornError as error:
        found.problem = (
            f"{path}: damaged after {error} bytes; the {len(found.rows)} logged rows before are read. The trial's "
            "metrics.jsonl has the rest."
        )
    if found.problem is None and not has_ended:
        found.problem = (
            f"{path}: has no end: a run under way, or one that was killed. Its {len(found.rows)} rows are read; if it "
            "was killed, the trial's metrics.jsonl may have more."
        )
    return found


def _foreign(path: Path, content: bytes) -> str | None:
    if content.startswith(FILE_HEADER):
        return None
    if not content:
        return f"{path}: is empty: its process was killed at once. Nothing is in it to be read; delete it."
    if content.startswith(FILE_HEADER[:4]):
        return f"{path}: in a format of W&B's that is not known here. See it with: wandb leet inspect {path}"
    return f"{path}: no file of W&B's. Move it away."


class _TornError(Exception):
    """The place, in bytes, from which on nothing can be read."""


def _messages(content: bytes) -> Iterator[bytes]:
    place, parts = len(FILE_HEADER), b""
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


def _values(items: Iterable[Any]) -> dict[str, Any]:
    """Names and values of one message's items."""
    names, texts = [], []
    for item in items:
        keys = item.nested_key
        # Nearly always one; joining costs as much as all the rest.
        names.append(keys[0] if len(keys) == 1 else ".".join(keys) or item.key)
        texts.append(item.value_json)
    # One call for all of them, and a whole number stays one.
    return dict(zip(names, json.loads(f"[{','.join(texts)}]"), strict=True))
