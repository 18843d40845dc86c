"""Runs xmod-extend as if on another system: what that one lacks is taken away first.

usage: python tests/other_system.py windows|macos COMMAND ... [, COMMAND ...] ...

Only the package's own modules lack it: the libraries know those systems themselves.
"""

from __future__ import annotations

import builtins
import errno
import fcntl
import mmap
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
import types
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

NOT_ON_MACOS: dict[Any, str] = {
    os: """
        copy_file_range fdatasync memfd_create pidfd_open pipe2 posix_fadvise posix_fallocate
        sched_getaffinity sched_setaffinity sched_setscheduler splice eventfd getrandom
        setresuid setresgid getresuid O_DIRECT O_NOATIME O_TMPFILE O_PATH
    """,
    signal: "sigtimedwait sigwaitinfo SIGPWR SIGRTMIN SIGRTMAX SIGSTKFLT",
}
NOT_ON_WINDOWS: dict[Any, str] = {
    os: NOT_ON_MACOS[os]
    + """
        chown fchdir fchmod fchown fork forkpty getegid geteuid getgid getgroups getloadavg getpgid
        getpgrp getpriority getsid getuid killpg lchown lockf mkfifo mknod nice pathconf
        posix_spawn pread preadv pwrite pwritev readv writev register_at_fork sched_yield sendfile
        setegid seteuid setgid setpgid setpriority setsid setuid statvfs sync sysconf tcgetpgrp
        ttyname uname wait wait3 wait4 waitid
        O_CLOEXEC O_DIRECTORY O_DSYNC O_NOCTTY O_NOFOLLOW O_NONBLOCK O_SYNC WNOHANG
    """,
    signal: NOT_ON_MACOS[signal]
    + """
        SIGALRM SIGBUS SIGCHLD SIGCONT SIGHUP SIGKILL SIGPIPE SIGQUIT SIGSTOP SIGTSTP SIGUSR1
        SIGUSR2 SIGWINCH SIG_BLOCK SIG_SETMASK SIG_UNBLOCK alarm getitimer pause pthread_kill
        pthread_sigmask setitimer siginterrupt sigpending sigwait
    """,
    mmap: "MADV_DONTNEED MADV_FREE MADV_RANDOM MADV_SEQUENTIAL MADV_WILLNEED MAP_PRIVATE PROT_READ",
    socket: "AF_UNIX socketpair",
    time: "tzset clock_gettime pthread_getcpuclockid",
}
MODULES_NOT_ON_WINDOWS = ("fcntl", "grp", "pty", "pwd", "resource", "syslog", "termios", "tty")


def hide(
    lacking: dict[Any, str], modules: tuple[str, ...] = (), instead: dict[str, Any] | None = None
) -> None:
    """Gives the package modules without those names, none of those modules, and others instead."""
    plain = builtins.__import__
    given = dict(instead or {})
    for module, names in lacking.items():
        given.setdefault(module.__name__, altered(module, without=names.split()))

    def import_module(name: str, globals: Any = None, *arguments: Any, **more: Any) -> Any:
        if (globals or {}).get("__name__", "").startswith("xmod_extend"):
            if name in modules:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)
            if name in given:
                return given[name]
        return plain(name, globals, *arguments, **more)

    builtins.__import__ = import_module


def altered(module: Any, *, without: Sequence[str] = (), **values: Any) -> types.ModuleType:
    copy = types.ModuleType(module.__name__)
    copy.__dict__.update({k: v for k, v in vars(module).items() if k not in without} | values)
    return copy


def windows_locks() -> types.ModuleType:
    """What `msvcrt` does of it, by means of this system's locks."""
    module = types.ModuleType("msvcrt")

    def locking(handle: int, mode: int, num_bytes: int) -> None:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES)) from error

    module.__dict__.update(locking=locking, LK_NBLCK=2, LK_UNLCK=0)
    return module


def refuse_what_windows_refuses() -> None:
    """Opens no folder, flushes no read-only file, and lets no open file lose its name or place."""
    plain_open, plain_fsync = os.open, os.fsync

    def refuse(path: Any) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    def open_file(path: Any, *arguments: Any, **more: Any) -> int:
        if Path(path).is_dir():
            refuse(path)
        return plain_open(path, *arguments, **more)

    def fsync(file: Any) -> None:
        number = file if isinstance(file, int) else file.fileno()
        if fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        plain_fsync(number)

    def kill(process: int, number: int) -> None:
        raise AssertionError(f"os.kill({process}, {number}) ends that process, whatever the number")

    def refuse_if_open(function: Any) -> Any:
        def call(path: Any, *arguments: Any, **more: Any) -> Any:
            if more.get("dir_fd") is None and in_use(path):
                refuse(path)
            return function(path, *arguments, **more)

        return call

    os.open, os.fsync, os.kill = open_file, fsync, kill
    shutil._use_fd_functions = False
    tempfile.TemporaryFile = tempfile.NamedTemporaryFile  # as it is there
    os.symlink = lambda source, target, *more, **named: refuse(target)
    for name in ("rename", "replace", "unlink", "remove", "rmdir"):
        setattr(os, name, refuse_if_open(getattr(os, name)))


def in_use(path: Any) -> bool:
    """Whether this process has a file open or mapped that is `path` or lies in it."""
    place = os.path.realpath(path)
    mappings = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    paths = [line.split(maxsplit=5)[5] for line in mappings if "/" in line]
    paths += [os.path.realpath(number) for number in Path("/proc/self/fd").iterdir()]
    return any(each == place or each.startswith(place + os.sep) for each in paths)


def main() -> None:
    system, *words = sys.argv[1:]
    # Text has another default encoding there (said with PYTHONWARNDEFAULTENCODING=1).
    warnings.filterwarnings("error", category=EncodingWarning, module="xmod_extend")
    if system == "windows":
        refuse_what_windows_refuses()
        instead = {"sys": altered(sys, platform="win32"), "msvcrt": windows_locks()}
        hide(NOT_ON_WINDOWS, MODULES_NOT_ON_WINDOWS, instead)
    else:
        hide(NOT_ON_MACOS, instead={"sys": altered(sys, platform="darwin")})
    sys.argv[0] = str(Path(sys.argv[0]).with_name("xmod-extend"))
    from xmod_extend.cli.app import run

    while words:
        end = words.index(",") if "," in words else len(words)
        try:
            run(words[:end])
        except SystemExit as ended:
            if ended.code:
                raise
        words = words[end + 1 :]


if __name__ == "__main__":
    main()
