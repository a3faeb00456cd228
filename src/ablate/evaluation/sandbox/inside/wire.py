"""Messages between the process of a program and that of its tests: values as JSON, on two pipes.

Only plain values of Python travel. Anything else stays in the program's process and travels as a number, so the tests
never call a method, such as `__eq__`, that the program wrote.
"""

import builtins
import json
import os
import struct
import sys
from collections import deque
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

HEADER = struct.Struct("<I")
MAX_BYTES = 1 << 24
SEQUENCES: dict[str, Callable[..., Any]] = {
    "list": list,
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "deque": deque,
    "iterator": iter,
}
# Written as text and read back: the module of the class, how it is written and how it is read.
TEXTS: dict[str, tuple[str, Callable[[Any], str], str]] = {
    "bytes": ("builtins", bytes.hex, "fromhex"),
    "bytearray": ("builtins", bytearray.hex, "fromhex"),
    "complex": ("builtins", repr, ""),
    "Decimal": ("decimal", str, ""),
    "Fraction": ("fractions", str, ""),
    "datetime": ("datetime", lambda value: value.isoformat(), "fromisoformat"),
    "date": ("datetime", lambda value: value.isoformat(), "fromisoformat"),
}


class WireError(Exception):
    """What arrived is not a message, or a value cannot be sent."""


def send(handle: int, message: Any) -> None:
    """Write a message to a pipe."""
    content = json.dumps(message).encode()
    if len(content) > MAX_BYTES:
        raise WireError(f"a value is too large to send ({len(content)} bytes)")
    rest = HEADER.pack(len(content)) + content
    while rest:
        rest = rest[os.write(handle, rest) :]


def receive(handle: int) -> Any:
    """Read a message from a pipe. Raises EOFError where the other side ended, WireError for anything else."""
    [length] = HEADER.unpack(_read(handle, HEADER.size))
    if length > MAX_BYTES:
        raise WireError("a message is too large")
    try:
        return json.loads(_read(handle, length))
    except (ValueError, RecursionError) as error:
        raise WireError(f"not a message: {error}") from None


def _read(handle: int, count: int) -> bytes:
    parts = []
    while count:
        part = os.read(handle, min(count, 1 << 16))
        if not part:
            raise EOFError("the other process ended")
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def encode(value: Any, other: Callable[[Any], Any]) -> Any:
    """Return a value as JSON; `other` encodes what is not plain."""
    if value is None or isinstance(value, bool):
        return value
    for plain in (int, float, str):
        if isinstance(value, plain):
            return plain(value) if type(value) is not plain else value
    if isinstance(value, dict):
        return ["dict", [[encode(key, other), encode(item, other)] for key, item in value.items()]]
    for name, kind in (("list", list), ("tuple", tuple), ("set", set), ("frozenset", frozenset), ("deque", deque)):
        if isinstance(value, kind):
            return [name, [encode(item, other) for item in value]]
    for name, (module, written, _) in TEXTS.items():
        # A value of a class whose module nobody has imported does not exist.
        if module in sys.modules and isinstance(value, getattr(sys.modules[module], name)):
            return [name, written(value)]
    name = getattr(value, "__name__", "")
    if isinstance(value, type) and vars(builtins).get(name) is value:
        return ["type", name]
    if isinstance(value, Iterator):
        return ["iterator", [encode(item, other) for item in value]]
    return other(value)


def decode(content: Any, other: Callable[[Any], Any]) -> Any:
    """Return the value of `encode`'s JSON, of plain types alone. Raises WireError for anything else."""
    if content is None or isinstance(content, bool | int | float | str):
        return content
    try:
        kind, inner = content
        if kind == "dict":
            return {decode(key, other): decode(item, other) for key, item in inner}
        if kind in SEQUENCES:
            return SEQUENCES[kind]([decode(item, other) for item in inner])
        if kind == "type" and isinstance(builtin := getattr(builtins, inner), type):
            return builtin
        if kind in TEXTS:
            module, _, reader = TEXTS[kind]
            read = getattr(import_module(module), kind)
            return (getattr(read, reader) if reader else read)(inner)
        return other(content)
    except (TypeError, ValueError, ArithmeticError, AttributeError, RecursionError) as error:
        raise WireError(f"not a value: {error}") from None
