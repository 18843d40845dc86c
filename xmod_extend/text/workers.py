"""One function over many items on all cores: in order, in bounded memory, and never left behind.

The workers are fresh interpreters that speak pickle over their own pipes. They are not forked, for
torch's threads may be running; and `multiprocessing` is not used, for it would run the caller's
script again where that has no `if __name__ == "__main__"`.

    caller ── item ──> worker 1 ── result ──> caller, in the order of the items
              item ──> worker 2 ── result ──>

A worker reads from a pipe that only its parent holds, so that it ends when the parent does, however
that ended. It has a session of its own: a Ctrl-C reaches the parent alone.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import struct
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import BinaryIO, TypeVar, cast

from xmod_extend.errors import XmodExtendError

Item = TypeVar("Item")
Result = TypeVar("Result")

SMALL_BYTES = 32 << 20
"""A text up to this size is prepared in this process: starting others takes longer than it does."""

WORKERS_MB = 1200
"""Resident memory of all workers together, so that with their parent they stay below 2 GB."""

_LENGTH = struct.Struct("<Q")


def choose_num_workers(num_bytes: int, *, worker_mb: int = 80) -> int:
    """Return how many processes a text is worth: one, or as many as there are cores and is memory
    for.

    Args:
        num_bytes: Of the text.
        worker_mb: Resident memory of one process, in 10^6 bytes.
    """
    if num_bytes <= SMALL_BYTES or not sys.executable:
        return 1
    # A container or `taskset` may allow fewer cores than the machine has.
    allowed = getattr(os, "sched_getaffinity", None)
    cores = len(allowed(0)) if allowed else os.cpu_count() or 1
    return max(1, min(cores, WORKERS_MB // worker_mb))


def map_in_order(
    function: Callable[[Item], Result], items: Iterable[Item], *, num_workers: int
) -> Iterator[Result]:
    """`map(function, items)`, by as many processes; with one, in this process.

    At most two items a worker are under way, so that a slow reader of the results holds up the
    items. What `function` raises is raised here.

    Args:
        function: Picklable, as are the items and results; each worker gets its own copy once.

    Raises:
        XmodExtendError: A worker ended on its own.
    """
    if num_workers == 1:
        yield from map(function, items)
        return
    workers = [_Worker(function) for _ in range(num_workers)]
    idle: SimpleQueue[_Worker] = SimpleQueue()
    for worker in workers:
        idle.put(worker)

    def call(item: Item) -> Result:
        worker = idle.get()
        try:
            return cast(Result, worker.call(item))
        finally:
            idle.put(worker)

    threads = ThreadPoolExecutor(num_workers, thread_name_prefix="xmod-extend-worker")
    pending: deque[Future[Result]] = deque()
    try:
        for item in items:
            pending.append(threads.submit(call, item))
            if len(pending) > 2 * num_workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        # Killed first: a thread may be waiting for its worker.
        for worker in workers:
            worker.kill()
        threads.shutdown(cancel_futures=True)
        for worker in workers:
            worker.close()


class _Worker:
    def __init__(self, function: Callable[..., object]) -> None:
        here = os.pathsep.join(path or str(os.curdir) for path in sys.path)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", "from xmod_extend.text.workers import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            env=os.environ | {"PYTHONPATH": here, "TOKENIZERS_PARALLELISM": "false"},
        )
        self._function: bytes | None = pickle.dumps(function, protocol=5)

    def call(self, item: object) -> object:
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            if self._function is not None:
                _write(self._process.stdin, self._function)
                self._function = None
            _write(self._process.stdin, pickle.dumps(item, protocol=5))
            reply = _read(self._process.stdout)
        except OSError:
            reply = None
        if reply is None:
            raise _explain_end(self._process.wait())
        succeeded, value = pickle.loads(reply)
        if not succeeded:
            raise value
        return value

    def kill(self) -> None:
        self._process.kill()

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.wait()
        self._process.stdout.close()
        # What was still to be written went to a process that is gone.
        with contextlib.suppress(OSError):
            self._process.stdin.close()


def _explain_end(code: int) -> XmodExtendError:
    how = f"with exit code {code}"
    if code < 0:
        how = f"by {signal.Signals(-code).name}"
    return XmodExtendError(
        f"A process that was preparing the text was ended {how}.",
        hint="The machine may be short of memory; start again, what was finished is kept.",
    )


def serve() -> None:
    """The life of a worker: it ends with its input."""
    requests = sys.stdin.buffer
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not get between the replies
    first = _read(requests)
    if first is None:
        return
    function = pickle.loads(first)
    while (request := _read(requests)) is not None:
        try:
            reply = pickle.dumps((True, function(pickle.loads(request))), protocol=5)
        except Exception as error:
            reply = pickle.dumps((False, error))
        try:
            _write(replies, reply)
        except BrokenPipeError:
            return  # nobody waits for it any more


def _write(stream: BinaryIO | object, message: bytes) -> None:
    stream = cast(BinaryIO, stream)
    stream.write(_LENGTH.pack(len(message)))
    stream.write(message)
    stream.flush()


def _read(stream: BinaryIO | object) -> bytes | None:
    """Return the next message, or None if there is no whole one any more."""
    stream = cast(BinaryIO, stream)
    header = stream.read(_LENGTH.size)
    if len(header) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(header)
    message = stream.read(length)
    return message if len(message) == length else None
