"""`ablate [VERB] …`, also `python -m ablate`: runs a verb and turns errors into messages and exit codes."""

import os
import select
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from ablate.console import make_printable
from ablate.errors import UserError


def main() -> int:
    """Run the command line and return its exit code."""
    make_printable()
    try:
        with _ending_signals():
            from ablate.verbs import commands

            if instruction := os.environ.get("_ABLATE_COMPLETE"):
                code = commands.answer(instruction)
            else:
                code = commands.run_command_line(sys.argv[1:])
            sys.stdout.flush()
            return code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 1 if _is_reader_gone() else _fault()
    except UserError as error:
        if os.environ.get("ABLATE_DEBUG") == "1":
            traceback.print_exc()
        print(f"ablate: {error}", file=sys.stderr)
        return error.exit_code
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if not package or package in ("ablate", "hydra_plugins"):
            return _fault()
        if os.environ.get("ABLATE_DEBUG") == "1":
            traceback.print_exc()
        print(
            f"ablate: the package {package} is not installed in {sys.prefix}. Activate the environment that ablate was "
            "installed in, or install its packages again from a checkout: pip install -c constraints.txt -e '.[demo]'",
            file=sys.stderr,
        )
        return 1
    except Exception:
        return _fault()


@contextmanager
def _ending_signals() -> Iterator[None]:
    """Handle SIGTERM and a closed terminal as Ctrl-C inside the block. The scheduler has handlers of its own."""
    is_main = threading.current_thread() is threading.main_thread()
    numbers = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) == signal.SIG_DFL]
    before = {number: signal.signal(number, _interrupt) for number in numbers if is_main}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(number: int, frame: object) -> None:
    os.write(2, b"Interrupted.\n")
    raise KeyboardInterrupt


def _fault() -> int:
    traceback.print_exc()
    fault = "this is a fault of ablate, not of your command. Please report it with the lines above."
    print(f"ablate: {fault}", file=sys.stderr)
    return 1


def _is_reader_gone() -> bool:
    """Whether standard output is the broken pipe; if so, redirect it, because the interpreter flushes it at its end."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    is_gone = any(event & select.POLLERR for _, event in poll.poll(0))
    if is_gone:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return is_gone


if __name__ == "__main__":
    sys.exit(main())
