"""The process of the tests: it runs them on functions whose bodies run in the program's process.

Its exit status is the verdict: `PASSED` where every test ended without an exception. The first line of standard error
says why another one did not pass.
"""

import builtins
import os
import sys
import types
from typing import Any, NoReturn

from ablate.evaluation.sandbox.inside.restrict import restrict
from ablate.evaluation.sandbox.inside.wire import WireError, decode, encode, receive, send

# No status that an interpreter, a signal or a sandbox ends with by itself.
PASSED, FAILED, NOT_LOADED, ENDED = 77, 78, 79, 80


class ProgramError(Exception):
    """The program raised an exception of a class of its own."""


class Remote:
    """A function or class of the program, by name."""

    def __init__(self, reference: list[Any]) -> None:
        self._reference = reference

    def __call__(self, *positional: Any, **named: Any) -> Any:
        """Call it in the program's process."""
        outcome = _exchange(self._reference, positional, named)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome[0]

    def _refuse(self, *_: Any) -> Any:
        raise TypeError("the program returned an object that tests cannot look into")

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __bool__ = _refuse
    __hash__ = None  # type: ignore[assignment]


def _exchange(reference: list[Any], positional: tuple[Any, ...], named: dict[str, Any]) -> BaseException | list[Any]:
    """Return [what the program's function returned], or what it raised.

    What is no answer ends the tests, so that no test can take it for an exception that it expects.
    """
    try:
        arguments = [encode(argument, _reference_of) for argument in positional]
        named = {name: encode(argument, _reference_of) for name, argument in named.items()}
        send(1, {"function": reference, "positional": arguments, "named": named})
        reply = receive(0)
        if "error" in reply:
            return _exception(reply)
        for argument, before, after in zip(positional, arguments, reply["positional"], strict=True):
            if after != before:
                _write_back(argument, decode(after, _object))
        return [decode(reply["value"], _object)]
    except (EOFError, BrokenPipeError):
        _end(ENDED, "the program's process ended before its tests")
    except Exception as error:
        _end(FAILED, f"{type(error).__name__}: {error}")


def _reference_of(value: Any) -> Any:
    if isinstance(value, Remote):
        return value._reference
    raise WireError(f"{type(value).__name__}: cannot be given to a program")


def _object(content: Any) -> Remote:
    if content[0] != "object":
        raise WireError("not a value")
    return Remote(content)


def _exception(reply: Any) -> BaseException:
    kind = getattr(builtins, str(reply["error"]), None)
    text = str(reply["text"])
    if isinstance(kind, type) and issubclass(kind, Exception) and kind is not Exception:
        try:
            return kind(text)
        except TypeError:
            pass
    return ProgramError(f"{reply['class']}: {text}")


def _write_back(argument: Any, changed: Any) -> None:
    """Give an argument the content that the program left in its copy."""
    if isinstance(argument, list | bytearray) and type(argument) is type(changed):
        argument[:] = changed
    elif isinstance(argument, dict | set) and type(argument) is type(changed):
        argument.clear()
        argument.update(changed)


def main() -> NoReturn:
    """Run the tests. The first message is the job."""
    job = receive(0)
    restrict(job)
    sys.set_int_max_str_digits(0)
    sys.stdout = open(os.devnull, "w")
    try:
        ready = receive(0)
    except (EOFError, WireError):
        _end(ENDED, "the program's process ended before its tests")
    if ready:
        _end(NOT_LOADED, f"{ready.get('class')}: {ready.get('text')}" if isinstance(ready, dict) else "")
    try:
        _run(job["setup"], job["tests"], job["functions"])
    except WireError as error:
        _end(FAILED, str(error))
    except BaseException as error:
        _end(FAILED, f"{type(error).__name__}: {error}" if str(error) else _place(error))
    _end(PASSED, "")


def _run(setup: str, tests: str, functions: list[str]) -> None:
    module = types.ModuleType("tests")
    sys.modules["tests"] = module
    names = module.__dict__
    exec(compile(setup, "<setup>", "exec"), names)
    for name in functions:
        names[name] = Remote(["name", [name]])
    exec(compile(tests, "<tests>", "exec"), names)


def _place(error: BaseException) -> str:
    """The class of an exception without text, and the line of the tests that raised it."""
    line, trace = 0, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<tests>":
            line = trace.tb_lineno
        trace = trace.tb_next
    return f"{type(error).__name__} in line {line} of the tests"


def _end(status: int, reason: str) -> NoReturn:
    os.write(2, reason.encode(errors="replace")[:1000])
    os._exit(status)
