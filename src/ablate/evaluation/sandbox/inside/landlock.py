"""Landlock: a process reaches no file but those below the folders that it names (Linux ≥ 5.13, no rights needed).

Constants: `include/uapi/linux/landlock.h`.
"""

import ctypes
import os
from collections.abc import Sequence

# The same numbers on all architectures.
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
GET_VERSION, PATH_BENEATH = 1, 1
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
# No folders: a tree of them can be too deep to look through and to delete.
REMOVE_FILE, MAKE_REG = 1 << 5, 1 << 8
REFER, TRUNCATE, IOCTL_DEVICE = 1 << 13, 1 << 14, 1 << 15
FIRST_ABI_RIGHTS = (1 << 13) - 1
# Binding and connecting TCP sockets; abstract unix sockets and signals to processes outside.
NETWORK_RIGHTS, SCOPES = 0b11, 0b11


class Ruleset(ctypes.Structure):
    """`struct landlock_ruleset_attr`."""

    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class PathBeneath(ctypes.Structure):
    """`struct landlock_path_beneath_attr`."""

    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed", ctypes.c_uint64), ("folder", ctypes.c_int32))


def abi(libc: ctypes.CDLL) -> int:
    """Return the version of Landlock that the kernel has; 0 for none."""
    version: int = libc.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), GET_VERSION)
    return max(version, 0)


def confine_files(libc: ctypes.CDLL, read: Sequence[str], write: Sequence[str], *, must: bool) -> None:
    """Leave this process `read` to read and `write` to read and write, and the devices null, zero and urandom.

    Raises:
        OSError: there is no Landlock although it `must` be, or the kernel refuses.
    """
    version = abi(libc)
    if not version:
        if must:
            raise OSError("this kernel has no Landlock")
        return
    extra = (REFER if version >= 2 else 0) | (TRUNCATE if version >= 3 else 0) | (IOCTL_DEVICE if version >= 5 else 0)
    handled = FIRST_ABI_RIGHTS | extra
    attributes = Ruleset(handled, NETWORK_RIGHTS if version >= 4 else 0, SCOPES if version >= 6 else 0)
    size = 8 if version < 4 else 16 if version < 6 else 24
    ruleset = _call(libc, CREATE_RULESET, ctypes.byref(attributes), ctypes.c_size_t(size), 0)
    reading, writing = READ_FILE | READ_DIR, REMOVE_FILE | MAKE_REG | WRITE_FILE | TRUNCATE
    rules = [(path, reading) for path in read]
    rules += [(path, reading | writing) for path in write]
    rules += [(f"/dev/{name}", READ_FILE | WRITE_FILE) for name in ("null", "zero", "urandom")]
    for path, allowed in rules:
        try:
            folder = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        if not os.path.isdir(path):
            allowed &= READ_FILE | WRITE_FILE | TRUNCATE
        rule = PathBeneath(allowed & handled, folder)
        _call(libc, ADD_RULE, ruleset, PATH_BENEATH, ctypes.byref(rule), 0)
        os.close(folder)
    _call(libc, RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)


def _call(libc: ctypes.CDLL, *arguments: object) -> int:
    result: int = libc.syscall(*arguments)
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"Landlock: {os.strerror(error)}")
    return result
