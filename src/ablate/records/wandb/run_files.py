"""Reader of W&B's offline files.

The supported reader is the command `wandb leet inspect --json`, which takes seconds per run; a test compares the two.
A file has a header of seven bytes, then blocks of 32 KiB as in LevelDB's logs. A block holds records of a checksum, a
length and a type (whole, first, middle, last); one or more records make one message of W&B's protocol.
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
    """The content of one offline file.

    Attributes:
        config: the config that W&B was given.
        rows: the history, in order, with `_step`.
        problem: what is wrong with the file; None for a complete file.
        updates: messages that change the summary, parsed on demand: W&B writes the whole summary after each row.
    """

    config: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    problem: str | None = None
    updates: list[bytes] = field(default_factory=list, repr=False)

    def summary(self, prefix: str = "") -> dict[str, Any]:
        """Return the summary's values whose names begin with `prefix`."""
        from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]

        mark, values = prefix.encode(), {}
        for message in self.updates:
            if mark in message:
                values.update(_values(Record.FromString(message).summary.update))
        return {name: value for name, value in values.items() if name.startswith(prefix)}


def read_run(path: Path) -> RunFile:
    """Read a file; of a damaged one, what precedes the damage, with the problem named."""
    from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]

    file, content = RunFile(), path.read_bytes()
    file.problem = _foreign(path, content)
    if file.problem:
        return file
    has_ended = False
    try:
        for message in _messages(content):
            record = Record.FromString(message)
            kind = record.WhichOneof("record_type")
            if kind == "history":
                file.rows.append(_values(record.history.item))
            elif kind == "summary":
                file.updates.append(message)
            elif kind in ("run", "config"):
                config = record.run.config if kind == "run" else record.config
                file.config.update(_values(config.update))
            has_ended = kind == "exit" or has_ended
    except _TornError as error:
        file.problem = (
            f"{path}: damaged after {error} bytes; the {len(file.rows)} rows before it are read. The trial's "
            "metrics.jsonl has the rest."
        )
    if file.problem is None and not has_ended:
        file.problem = (
            f"{path}: has no end, as of a run that is running or was killed. Its {len(file.rows)} rows are read; if it "
            "was killed, the trial's metrics.jsonl may have more."
        )
    return file


def _foreign(path: Path, content: bytes) -> str | None:
    if content.startswith(FILE_HEADER):
        return None
    if not content:
        return f"{path}: is empty, because its process was killed at once. Delete it."
    if content.startswith(FILE_HEADER[:4]):
        return f"{path}: has a format of W&B that ablate does not know. To read it: wandb leet inspect {path}"
    return f"{path}: is not a W&B file. Move it away."


class _TornError(Exception):
    """The offset in bytes at which the damage begins."""


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
    """Return the names and values of a message's items."""
    names, texts = [], []
    for item in items:
        keys = item.nested_key
        # Nearly always one key, and joining takes half of the time.
        names.append(keys[0] if len(keys) == 1 else ".".join(keys) or item.key)
        texts.append(item.value_json)
    # One call for all values.
    return dict(zip(names, json.loads(f"[{','.join(texts)}]"), strict=True))
