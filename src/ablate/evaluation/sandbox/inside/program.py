"""The process of a program: it defines the program and calls its functions as the tests ask.

Nothing that this process writes is a verdict: the tests' process asks for `f(3)` and compares what comes back. A
program that prints, exits or patches whatever it likes can give wrong values, and no others.
"""

import contextlib
import os
import sys
import types
from typing import Any

from ablate.evaluation.sandbox.inside.restrict import restrict
from ablate.evaluation.sandbox.inside.wire import WireError, decode, encode, receive, send


def main() -> None:
    """Serve the tests until they end. The first message is the job."""
    job = receive(0)
    inputs, outputs = _apart()
    restrict(job)
    sys.set_int_max_str_digits(0)
    if "random" in job["source"]:
        import random

        # The same draws each time, and the same verdict.
        random.seed(0)
    module = types.ModuleType("program")
    sys.modules["program"] = module
    try:
        exec(compile(job["source"], "<program>", "exec"), module.__dict__)
    except BaseException as error:
        send(outputs, _failure(error))
        return
    send(outputs, {})
    objects: list[Any] = []
    with contextlib.suppress(EOFError, OSError):
        while True:
            answer = _answer(receive(inputs), module.__dict__, objects)
            try:
                send(outputs, answer)
            except WireError as error:
                send(outputs, _failure(error))


def _apart() -> tuple[int, int]:
    """Move the pipes away from standard input and output, which lead nowhere then."""
    inputs, outputs = os.dup(0), os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(nowhere, number)
    sys.stdin, sys.stdout, sys.stderr = (
        open(os.devnull, mode, encoding="utf-8", errors="replace") for mode in ("r", "w", "w")
    )
    return inputs, outputs


def _answer(call: Any, names: dict[str, Any], objects: list[Any]) -> Any:
    """Call what the tests ask for."""

    def kept(value: Any) -> Any:
        number = next((number for number, known in enumerate(objects) if known is value), len(objects))
        if number == len(objects):
            objects.append(value)
        return ["object", [number, type(value).__name__]]

    def meant(content: Any) -> Any:
        kind, (key, *_) = content
        return objects[key] if kind == "object" else names[key]

    try:
        function = meant(call["function"])
        positional = [decode(argument, meant) for argument in call["positional"]]
        named = {name: decode(argument, meant) for name, argument in call["named"].items()}
        value = encode(function(*positional, **named), kept)
        # A function may change the lists and the like that it is given.
        changed = [encode(argument, kept) for argument in positional]
        return {"value": value, "positional": changed}
    except BaseException as error:
        return _failure(error)


def _failure(error: BaseException) -> dict[str, str]:
    """Return an exception: its class, the nearest class that is Python's own, and its text."""
    nearest = next(kind.__name__ for kind in type(error).__mro__ if kind.__module__ == "builtins")
    try:
        text = str(error)[:500]
    except BaseException:
        text = ""
    return {"error": nearest, "class": type(error).__name__, "text": text}
