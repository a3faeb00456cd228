"""seccomp: a process may make the system calls that compute, and no others.

An allowlist: files of the folders that Landlock leaves, memory, time, threads. All others fail with EPERM: processes,
programs, signals, sockets, modes and owners of files, mounts, tracing, and whatever a later kernel adds.

Constants: `include/uapi/linux/{filter,seccomp,audit}.h` and the tables of system calls of both architectures.
"""

import ctypes
import errno
import os
import struct

PR_SET_SECCOMP, MODE_FILTER = 22, 2
ALLOW, ERRNO, KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
# Loading a word, jumping by it, returning.
LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
# Offsets in `struct seccomp_data`, of a little-endian machine.
NUMBER, ARCHITECTURE, ARGUMENTS = 0, 4, 16
X32 = 0x40000000
CLONE_THREAD = 0x10000
# Without F_SETOWN, F_SETSIG and F_SETOWN_EX, by which the kernel sends signals to others.
FCNTL_COMMANDS = (0, 1, 2, 3, 4, 5, 6, 7, 1030)
Instruction = tuple[int, int, int, int]

AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
# By name: the number on x86_64 and on aarch64, -1 where there is none.
CALLS = {
    **{"read": (0, 63), "write": (1, 64), "readv": (19, 65), "writev": (20, 66), "close": (3, 57)},
    **{"pread64": (17, 67), "pwrite64": (18, 68), "lseek": (8, 62), "ftruncate": (77, 46), "truncate": (76, 45)},
    **{"open": (2, -1), "openat": (257, 56), "creat": (85, -1), "stat": (4, -1), "lstat": (6, -1), "fstat": (5, 80)},
    **{"newfstatat": (262, 79), "statx": (332, 291), "access": (21, -1), "faccessat": (269, 48)},
    **{"faccessat2": (439, 439), "readlink": (89, -1), "readlinkat": (267, 78), "getdents64": (217, 61)},
    **{"getcwd": (79, 17), "chdir": (80, 49), "mkdir": (83, -1), "mkdirat": (258, 34), "rmdir": (84, -1)},
    **{"unlink": (87, -1), "unlinkat": (263, 35), "rename": (82, -1), "renameat": (264, 38), "renameat2": (316, 276)},
    **{"dup": (32, 23), "dup2": (33, -1), "dup3": (292, 24), "pipe": (22, -1), "pipe2": (293, 59), "umask": (95, 166)},
    **{"mmap": (9, 222), "mprotect": (10, 226), "munmap": (11, 215), "mremap": (25, 216), "brk": (12, 214)},
    **{"madvise": (28, 233), "membarrier": (324, 283), "getrandom": (318, 278), "uname": (63, 160)},
    **{"rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139), "sigaltstack": (131, 132)},
    **{"alarm": (37, -1), "setitimer": (38, 103), "pause": (34, -1), "restart_syscall": (219, 128)},
    **{"poll": (7, -1), "ppoll": (271, 73), "select": (23, -1), "pselect6": (270, 72), "nanosleep": (35, 101)},
    **{"clock_nanosleep": (230, 115), "clock_gettime": (228, 113), "clock_getres": (229, 114), "times": (100, 153)},
    **{"gettimeofday": (96, 169), "sched_yield": (24, 124), "sched_getaffinity": (204, 123), "futex": (202, 98)},
    **{"getpid": (39, 172), "gettid": (186, 178), "getuid": (102, 174), "geteuid": (107, 175), "getgid": (104, 176)},
    **{"getegid": (108, 177), "getrlimit": (97, 163), "getrusage": (98, 165), "sysinfo": (99, 179)},
    **{"set_tid_address": (218, 96), "set_robust_list": (273, 99), "rseq": (334, 293), "arch_prctl": (158, -1)},
    **{"exit": (60, 93), "exit_group": (231, 94)},
}
CLONE, CLONE3, PRLIMIT, FCNTL = (56, 220), (435, 435), (302, 261), (72, 25)


def confine_calls(libc: ctypes.CDLL) -> None:
    """Leave this process the allowed system calls. Raises OSError for another architecture, or where it is refused."""
    machine = os.uname().machine
    if machine not in AUDIT:
        raise OSError(f"seccomp: no table of system calls for {machine}")
    content = b"".join(struct.pack("<HBBI", *step) for step in filter_of(machine))
    buffer = ctypes.create_string_buffer(content, len(content))
    # `struct sock_fprog`: the number of instructions and, after padding, where they are.
    program = struct.pack("<H6xQ", len(content) // 8, ctypes.addressof(buffer))
    if libc.prctl(PR_SET_SECCOMP, MODE_FILTER, ctypes.c_char_p(program), 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"seccomp: {os.strerror(error)}")


def filter_of(machine: str) -> list[Instruction]:
    """Return the filter as instructions (code, jump if true, jump if false, constant)."""
    column = list(AUDIT).index(machine)
    refuse = (RETURN, 0, 0, ERRNO | errno.EPERM)
    allow = (RETURN, 0, 0, ALLOW)
    steps: list[Instruction] = [
        (LOAD, 0, 0, ARCHITECTURE),
        (EQUAL, 1, 0, AUDIT[machine]),
        (RETURN, 0, 0, KILL_PROCESS),
        (LOAD, 0, 0, NUMBER),
    ]
    if machine == "x86_64":
        steps += [(AT_LEAST, 0, 1, X32), refuse]
    # glibc makes threads by `clone` where there is no `clone3`, whose flags a filter cannot read.
    steps += [(EQUAL, 0, 1, CLONE3[column]), (RETURN, 0, 0, ERRNO | errno.ENOSYS)]
    steps += [(EQUAL, 0, 4, CLONE[column]), (LOAD, 0, 0, ARGUMENTS), (ANY_BIT, 0, 1, CLONE_THREAD), allow, refuse]
    # Limits may be read: the third argument, the new limit, is null.
    new = ARGUMENTS + 2 * 8
    steps += [(EQUAL, 0, 6, PRLIMIT[column]), (LOAD, 0, 0, new), (EQUAL, 0, 3, 0)]
    steps += [(LOAD, 0, 0, new + 4), (EQUAL, 0, 1, 0), allow, refuse]
    commands = [step for command in FCNTL_COMMANDS for step in ((EQUAL, 0, 1, command), allow)]
    steps += [(EQUAL, 0, len(commands) + 2, FCNTL[column]), (LOAD, 0, 0, ARGUMENTS + 8), *commands, refuse]
    for numbers in CALLS.values():
        if numbers[column] >= 0:
            steps += [(EQUAL, 0, 1, numbers[column]), allow]
    return [*steps, refuse]
