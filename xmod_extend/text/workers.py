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
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import IO, TypeVar, cast

from xmod_extend.errors import XmodExtendError

Item = TypeVar("Item")
Result = TypeVar("Result")

SMALL_BYTES = 32 << 20
"""A text up to this size is prepared in this process: starting others takes longer than it does."""

WORKERS_MB = 1200
"""Resident memory of all workers together, so that with their parent they stay below 2 GB."""


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
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    num_workers: int,
    apart: bool = False,
) -> Iterator[Result]:
    """Yield what `map` does, by as many processes; with one, in this process.

    At most two items a worker are under way, so that a slow reader of the results holds up the
    items. What `function` raises is raised here.

    Args:
        function: Picklable, as are the items and results; each worker gets its own copy once.
        apart: Whether a single worker is a process of its own as well.

    Raises:
        XmodExtendError: A worker ended on its own.
    """
    if num_workers == 1 and not apart:
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
        self._function: Callable[..., object] | None = function

    def call(self, item: object) -> object:
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            if self._function is not None:
                _send(self._function, self._process.stdin)
                self._function = None
            _send(item, self._process.stdin)
            succeeded, value = pickle.load(self._process.stdout)
        except (OSError, EOFError, pickle.UnpicklingError):
            raise _explain_end(self._process.wait()) from None
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
    how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
    return XmodExtendError(
        f"A process that was preparing the text was ended {how}.",
        hint="The machine may be short of memory; start again, what was finished is kept.",
    )


def serve() -> None:
    """Live as a worker: answer what comes on stdin, and end with it."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not get between the replies
    # At the end of the input; or nobody waits for a reply any more.
    with contextlib.suppress(EOFError, BrokenPipeError, pickle.UnpicklingError):
        function = pickle.load(sys.stdin.buffer)
        while True:
            item = pickle.load(sys.stdin.buffer)
            try:
                reply = (True, function(item))
            except Exception as error:
                reply = (False, error)
            _send(reply, replies)


def _send(message: object, stream: IO[bytes]) -> None:
    pickle.dump(message, stream, protocol=5)
    stream.flush()
