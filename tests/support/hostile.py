"""Programs that try to do harm, or to pass tests that they do not satisfy.

Each of `ESCAPES` defines `f(place)`, which returns "escaped" where its deed was done. Each of `CHEATS` is tested for a
value that nobody can know. So a verdict of "passed" is an escape or a false pass.
"""

from textwrap import dedent

LIBC = "import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\n"


def deed(body: str, before: str = "") -> str:
    """A program whose function does something and returns "escaped" where nothing has stopped it."""
    lines = "\n    ".join(dedent(body).strip().splitlines())
    return f"import os, sys, time\n{before}\ndef f(place):\n    {lines}\n    return 'escaped'\n"


def call(*arguments: str) -> str:
    """A program that makes a system call by its number."""
    return deed(f"if libc.syscall({', '.join(arguments)}) < 0: return os.strerror(ctypes.get_errno())", LIBC)


RESOURCES = {
    "fork_bomb": deed("while True: os.fork()"),
    "fork_bomb_by_clone": call("56", "17", "0", "0", "0", "0"),
    "vfork": call("58"),
    "clone3": call("435", "ctypes.create_string_buffer(88)", "88"),
    "process_by_subprocess": deed("subprocess.run(['/bin/true'], check=True)", "import subprocess"),
    "process_by_multiprocessing": deed(
        "p = multiprocessing.get_context('spawn').Process(target=print); p.start(); p.join()", "import multiprocessing"
    ),
    "shell": deed("if os.system('true') != 0: return 'refused'"),
    "execute_itself": deed("os.execv('/bin/sh', ['sh', '-c', 'sleep 60'])"),
    "spawn": deed("os.posix_spawn('/bin/true', ['true'], {})"),
    "endless_loop": deed("while True: pass"),
    "endless_loop_that_catches_signals": deed(
        "signal.signal(signal.SIGXCPU, lambda *_: None)\nwhile True: pass", "import signal"
    ),
    "endless_loop_at_import": "while True: pass\n",
    "endless_sleep": deed("time.sleep(10**6)"),
    "endless_naps": deed("while True: time.sleep(0.01)"),
    "busy_threads": deed(
        "threads = [threading.Thread(target=spin) for _ in range(8)]\nfor t in threads: t.start()\nthreads[0].join()",
        "import threading\ndef spin():\n    while True: pass",
    ),
    "many_threads": deed(
        "for _ in range(100000): threading.Thread(target=time.sleep, args=(1000,)).start()", "import threading"
    ),
    "memory": deed("b = [bytearray(1 << 24) for _ in range(1 << 12)]"),
    "memory_by_doubling": deed("s = 'x'\nwhile True: s += s"),
    "memory_by_a_huge_number": deed("n = 9 ** 9 ** 9"),
    "memory_by_mmap": deed("m = mmap.mmap(-1, 1 << 36); m[0] = 1", "import mmap"),
    "raise_the_memory_limit": deed(
        "resource.setrlimit(resource.RLIMIT_AS, (-1, -1)); bytearray(1 << 34)", "import resource"
    ),
    "raise_the_cpu_limit": deed("resource.setrlimit(resource.RLIMIT_CPU, (-1, -1))", "import resource"),
    "one_large_file": deed("with open('big', 'wb') as file:\n    for _ in range(1 << 12): file.write(bytes(1 << 20))"),
    "sparse_file": deed("with open('big', 'wb') as file: file.truncate(1 << 40)"),
    "many_files": deed(
        "for number in range(10**6):\n    with open(f'{number}', 'wb') as file: file.write(bytes(1 << 16))"
    ),
    "deep_folders": deed("for _ in range(10**6):\n    os.mkdir('d'); os.chdir('d')"),
    "stdout_flood": deed("while True: print('x' * 10**6)"),
    "stderr_flood": deed("while True: os.write(2, b'x' * 10**6)"),
    "pipe_flood": deed("while True: os.write(4, b'x' * 10**6)"),
    "huge_answer": "def f(place): return 'x' * (1 << 28)\n",
    "deep_answer": "def f(place):\n    x = []\n    for _ in range(10**5): x = [x]\n    return x\n",
    "endless_answer": "import itertools\ndef f(place): return itertools.count()\n",
    "deep_recursion": deed("sys.setrecursionlimit(10**9); g(0)", "def g(n): return g(n + 1)"),
    "crash": deed("ctypes.string_at(0)", "import ctypes"),
}

FILES = {
    "read_a_secret": deed("if 'secret' not in open(place['secret']).read(): return 'no'"),
    "read_the_password_file": deed("open('/etc/passwd').read()"),
    "read_the_environment_of_the_parent": deed("if not open(f'/proc/{os.getppid()}/environ').read(): return 'empty'"),
    "read_by_proc_self_root": deed("open('/proc/self/root' + place['secret']).read()"),
    "read_memory_of_the_victim": deed("open(f\"/proc/{place['victim']}/mem\", 'rb').read(1)"),
    "list_the_root": deed("if 'home' not in os.listdir('/'): return 'its own root'"),
    "list_home": deed("os.listdir(place['folder'])"),
    "write_outside": deed("open(place['folder'] + '/new', 'w').write('x')"),
    "write_by_dots": deed("open('../' * 20 + place['folder'] + '/new', 'w').write('x')"),
    "overwrite_the_secret": deed("open(place['secret'], 'w').write('x')"),
    "append_to_the_secret": deed("open(place['secret'], 'a').write('x')"),
    "truncate_the_secret": deed("os.truncate(place['secret'], 0)"),
    "delete_the_secret": deed("os.unlink(place['secret'])"),
    "rename_the_secret": deed("os.rename(place['secret'], 'mine')"),
    "hard_link_to_the_secret": deed("os.link(place['secret'], 'mine'); open('mine').read()"),
    "symlink_to_the_secret": deed("os.symlink(place['secret'], 'mine'); open('mine').read()"),
    "symlink_into_the_folder": deed("os.symlink(place['folder'], 'd'); open('d/new', 'w').write('x')"),
    "chmod_the_secret": deed("os.chmod(place['secret'], 0o777)"),
    "chown_the_secret": deed("os.chown(place['secret'], 0, 0)"),
    "touch_the_secret": deed("os.utime(place['secret'])"),
    "attribute_of_the_secret": deed("os.setxattr(place['secret'], 'user.x', b'x')"),
    "write_into_the_library": deed("open(os.__file__, 'a').write('x')"),
    "shared_memory": deed("open('/dev/shm/ablate-escape', 'w').write('x')"),
    "named_pipe": deed("os.mkfifo(place['folder'] + '/new')"),
    "device": deed("os.mknod('device', 0o600 | 0o060000, os.makedev(8, 0))"),
    "mount": call("165", "b'none'", "b'.'", "b'tmpfs'", "0", "0"),
    "new_root": deed("os.chroot('.')"),
    "pivot_root": call("155", "b'.'", "b'.'"),
    "open_by_handle": call("304", "-100", "ctypes.create_string_buffer(64)", "0"),
    "io_uring": call("425", "8", "ctypes.create_string_buffer(256)"),
}

OTHERS = {
    "kill_the_parent": deed("os.kill(os.getppid(), 9)"),
    "kill_the_victim": deed("os.kill(place['victim'], 9)"),
    "kill_everybody": deed("os.kill(-1, 9)"),
    "kill_the_group": deed("os.killpg(0, 9)"),
    "signal_by_a_pidfd": deed("signal.pidfd_send_signal(os.pidfd_open(place['victim']), 9)", "import signal"),
    "signal_by_a_queue": call("129", "place['victim']", "9", "ctypes.create_string_buffer(128)"),
    "signal_by_a_pipe": deed(
        """
        readable, writable = os.pipe()
        fcntl.fcntl(readable, fcntl.F_SETOWN, place['victim'])
        fcntl.fcntl(readable, 10, 9)
        fcntl.fcntl(readable, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
        os.write(writable, b'x')
        """,
        "import fcntl",
    ),
    "priority_of_the_victim": deed("os.setpriority(os.PRIO_PROCESS, place['victim'], 19)"),
    "processors_of_the_victim": deed("os.sched_setaffinity(place['victim'], {0})"),
    "limits_of_the_victim": deed("resource.prlimit(place['victim'], resource.RLIMIT_CPU, (1, 1))", "import resource"),
    "trace_the_victim": call("101", "16", "place['victim']", "0", "0"),
    "memory_of_the_victim": call("310", "place['victim']", "ctypes.create_string_buffer(64)", "1", "0", "0", "0"),
    "background_child": deed("if os.fork() == 0: time.sleep(60)"),
    "daemon": deed("if os.fork() == 0:\n    os.setsid(); os.fork(); time.sleep(60)"),
    "new_session": deed("os.setsid()"),
    "new_user_namespace": call("272", "0x10000000"),
    "become_root": deed("os.setuid(0); open(place['secret']).read()"),
    "kernel_module": call("175", "b''", "0", "b''"),
    "bpf": call("321", "0", "0", "0"),
    "performance_counters": call("298", "ctypes.create_string_buffer(128)", "0", "-1", "-1", "0"),
    "keyring": call("248", "b'user'", "b'x'", "b'x'", "1", "-3"),
    "message_queue": call("68", "0", "0o1666"),
    "shared_segment": call("29", "0", "4096", "0o1666"),
    "host_name": call("170", "b'x'", "1"),
    "reboot": call("169", "0xfee1dead", "672274793", "0", "0"),
    "terminal": deed("fcntl.ioctl(0, 0x5412, b'x')", "import fcntl"),
    "tcp": deed("socket.create_connection(('127.0.0.1', place['tcp']), 2).send(b'x')", "import socket"),
    "tcp_server": deed("socket.create_server(('127.0.0.1', 0))", "import socket"),
    "udp": deed(
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', place['udp']))", "import socket"
    ),
    "unix_socket": deed("socket.socket(socket.AF_UNIX).connect(place['unix'])", "import socket"),
    "abstract_socket": deed("socket.socket(socket.AF_UNIX).connect(chr(0) + 'ablate-test')", "import socket"),
    "netlink": deed("socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)", "import socket"),
    "raw_socket": deed("socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)", "import socket"),
    "name_lookup": deed("socket.getaddrinfo('localhost', 80)", "import socket"),
}

ESCAPES = {**RESOURCES, **FILES, **OTHERS}

CHEATS = {
    "exit_early": "import os\nos._exit(0)\n",
    "exit_with_the_status_of_success": "import os\ndef f(place): os._exit(77)\n",
    "exit_politely": "import sys\nsys.exit(0)\n",
    "exit_in_the_function": "import sys\ndef f(place): sys.exit(0)\n",
    "patched_exit": "import os, sys\nos._exit = lambda *_: None\nsys.exit = os._exit\ndef f(place): return None\n",
    "patched_judge": (
        "import sys\nfor name, module in list(sys.modules.items()):\n    if 'sandbox' in name:\n"
        "        for key in list(vars(module)): setattr(module, key, lambda *a, **k: 77)\ndef f(place): return 1\n"
    ),
    "empty_modules": "import sys\nsys.modules.clear()\ndef f(place): return 1\n",
    "print_success": "print('passed'); print('77')\ndef f(place):\n    print('passed')\n    return 1\n",
    "write_success_to_all_files": (
        "import os\ndef f(place):\n    for number in range(3, 64):\n        try: os.write(number, b'passed 77')\n"
        "        except OSError: pass\n    return 1\n"
    ),
    "answer_twice": (
        "import json, os, struct\ndef f(place):\n"
        "    text = json.dumps({'value': True, 'positional': [['dict', []]]}).encode()\n"
        "    for number in range(3, 64):\n        try: os.write(number, struct.pack('<I', len(text)) + text)\n"
        "        except OSError: pass\n    return 1\n"
    ),
    "equal_to_everything": (
        "class Any:\n    def __eq__(self, other): return True\n    def __ne__(self, other): return False\n"
        "    def __bool__(self): return True\n    def __hash__(self): return 0\ndef f(place): return Any()\n"
    ),
    "text_equal_to_everything": (
        "class Text(str):\n    def __eq__(self, other): return True\n    __hash__ = str.__hash__\n"
        "def f(place): return Text('x')\n"
    ),
    "list_equal_to_everything": (
        "class Items(list):\n    def __eq__(self, other): return True\n    def __contains__(self, x): return True\n"
        "def f(place): return Items()\n"
    ),
    "patched_builtins": (
        "import builtins\nbuiltins.AssertionError = KeyboardInterrupt\nbuiltins.isinstance = lambda *_: True\n"
        "builtins.len = lambda *_: 0\ndef f(place): return 1\n"
    ),
    "catch_assertions": "import sys\nsys.excepthook = lambda *_: None\ndef f(place): return 1\n",
    "trace_the_tests": (
        "import sys\ndef g(frame, event, argument):\n    frame.f_locals['expected'] = 1\n    return g\n"
        "sys.settrace(g)\ndef f(place): return 1\n"
    ),
    "look_up_the_stack": (
        "import sys\ndef f(place):\n    frame = sys._getframe()\n    while frame:\n"
        "        for value in list(frame.f_locals.values()) + list(frame.f_globals.values()):\n"
        "            if isinstance(value, str) and value.startswith('nonce'): return value\n"
        "        frame = frame.f_back\n"
    ),
    "search_all_objects": (
        "import gc\ndef f(place):\n    for x in gc.get_objects():\n        if isinstance(x, dict):\n"
        "            for value in list(x.values()):\n"
        "                if isinstance(value, str) and value.startswith('nonce'): return value\n"
    ),
    "redefine_the_tests": "def check(candidate): pass\ndef f(place): return 1\n",
    "pickle": (
        "import pickle\nclass P:\n    def __reduce__(self): return (exec, ('import os; os._exit(77)',))\n"
        "def f(place): return P()\n"
    ),
    "pickled_bytes": (
        "import pickle\nclass P:\n    def __reduce__(self): return (exec, ('import os; os._exit(77)',))\n"
        "def f(place): return pickle.dumps(P())\n"
    ),
    "raise_what_tests_expect": "def f(place): raise SystemExit(77)\n",
    "raise_an_assertion": "def f(place): raise AssertionError\n",
    "raise_without_text": ("class E(Exception):\n    def __str__(self): raise SystemExit(0)\ndef f(place): raise E\n"),
    "stop_iteration": "def f(place): raise StopIteration\n",
    "generator_exit": "def f(place): raise GeneratorExit\n",
    "atexit": "import atexit, os\natexit.register(lambda: os._exit(77))\ndef f(place): return 1\n",
    "thread_that_exits": (
        "import os, threading\nthreading.Timer(0.01, os._exit, (77,)).start()\n"
        "def f(place):\n    import time; time.sleep(1)\n"
    ),
    "not_a_number": "def f(place): return float('nan')\n",
    "syntax_error": "def f(place) return 1\n",
    "no_function": "x = 1\n",
    "nothing": "",
}
