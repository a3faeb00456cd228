"""What a user is told, and with which exit code. The floor of the package: it imports nothing of ours."""


class UserError(Exception):
    """Something a person can mend; printed as one message, without a traceback."""

    exit_code = 1


class UsageError(UserError, ValueError):
    """The command or its configuration is wrong: what was given, what is allowed, what to type instead."""

    exit_code = 2


class FailureError(UserError, RuntimeError):
    """The command was right and the work failed: a missing package, a full disk, a broken file."""
