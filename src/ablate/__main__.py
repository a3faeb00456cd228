"""`ablate [VERB] …`, also `python -m ablate`: runs a verb and turns errors into messages and exit codes."""

import os
import select
import sys
import traceback

from ablate.errors import UserError


def main() -> int:
    """Run the command line and return its exit code."""
    try:
        code = _run(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        if not _is_reader_gone():
            return _fault()
        return 1
    return code


def _run(arguments: list[str]) -> int:
    try:
        from ablate.verbs import commands

        if instruction := os.environ.get("_ABLATE_COMPLETE"):
            return commands.answer(instruction)
        return commands.run_command_line(arguments)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        raise
    except UserError as error:
        if os.environ.get("ABLATE_DEBUG") == "1":
            traceback.print_exc()
        print(f"ablate: {error}", file=sys.stderr)
        return error.exit_code
    except Exception:
        return _fault()


def _fault() -> int:
    traceback.print_exc()
    print(
        "ablate: this is a fault of ablate, not of your command. Please report it with the lines above.",
        file=sys.stderr,
    )
    return 1


def _is_reader_gone() -> bool:
    """Whether standard output is the pipe that broke; if so, the interpreter's last flush of it is made to succeed."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    is_gone = any(event & select.POLLERR for _, event in poll.poll(0))
    if is_gone:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return is_gone


if __name__ == "__main__":
    sys.exit(main())
