"""What a process gives up before it runs code that nobody has read: resources, files, rights and system calls."""

import ctypes
import os
from typing import Any

from ablate.evaluation.sandbox.inside.landlock import confine_files
from ablate.evaluation.sandbox.inside.seccomp import confine_calls

PR_SET_PDEATHSIG, PR_SET_KEEPCAPS, PR_SET_NO_NEW_PRIVS = 1, 8, 38
CAPABILITY_VERSION, CAP_DAC_READ_SEARCH = 0x20080522, 2
KILL = 9


def restrict(job: dict[str, Any]) -> None:
    """Restrict this process for good.

    Args:
        job: `limits` in seconds and bytes; `read` and `write`, the folders that stay readable and writable; `user`, an
            unprivileged user id to become, or None; `kernel`, whether to use Landlock and seccomp;
            `must_confine_files`, whether Landlock has to be there.

    Raises:
        OSError: the kernel refuses.
    """
    limits = job["limits"]
    if limits is not None:
        _limit(limits)
    if job["write"] is not None:
        os.chdir(job["write"])
    if not job["kernel"]:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    _check(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    confine_files(libc, job["read"], [job["write"]] if job["write"] else [], must=job["must_confine_files"])
    if job["user"] is not None and os.geteuid() == 0:
        _become(libc, job["user"], job["read"][0])
    # A new user id would clear it.
    _check(libc.prctl(PR_SET_PDEATHSIG, KILL, 0, 0, 0))
    confine_calls(libc)


def _limit(limits: dict[str, int]) -> None:
    import resource

    for name, value in (
        (resource.RLIMIT_CPU, limits["cpu_seconds"]),
        (resource.RLIMIT_AS, limits["memory_bytes"]),
        (resource.RLIMIT_FSIZE, limits["file_bytes"]),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(name, (value, value))
    os.nice(1)


def _become(libc: ctypes.CDLL, user: int, library: str) -> None:
    """Become an unprivileged user.

    Where that user cannot reach the standard library, the right to read what is not its own stays, which Landlock
    limits to the library.
    """
    _check(libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0))
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    # The library may lie in a folder of root's.
    _keep(libc, 1 << CAP_DAC_READ_SEARCH)
    if _is_readable_by_all(library):
        _keep(libc, 0)


def _is_readable_by_all(path: str) -> bool:
    while path != "/":
        if os.stat(path).st_mode & 0o5 != 0o5:
            return False
        path = os.path.dirname(path)
    return True


def _keep(libc: ctypes.CDLL, capabilities: int) -> None:
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0)
    # Effective, permitted and inheritable, in two words of 32 bits each.
    content = (ctypes.c_uint32 * 6)(capabilities, capabilities, 0, 0, 0, 0)
    _check(libc.capset(header, content))


def _check(status: int) -> None:
    if status != 0:
        raise OSError(ctypes.get_errno(), "the kernel refuses a restriction")
