"""Many processes: the same results in the same order, and a clear end whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from xmod_extend.errors import CorpusError, XmodExtendError
from xmod_extend.text import workers
from xmod_extend.text.workers import choose_num_workers, map_in_order

FUNCTIONS = """
import os, signal, sys, time
from xmod_extend.errors import CorpusError

def double(x):
    print("a library's own words")
    return 2 * x

def refuse(x):
    if x == 3:
        raise CorpusError("no 3", hint="Leave it out.")
    return x

def die(x):
    if x == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return x

def process_of(x):
    time.sleep(0.05)
    return os.getpid()

def wait(x):
    os.write(2, b"%d\\n" % os.getpid())  # whole: print writes a line in two pieces
    time.sleep(2)
"""


@pytest.fixture(scope="module")
def functions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A module that the workers can import too."""
    folder = tmp_path_factory.mktemp("modules")
    (folder / "worker_functions.py").write_text(FUNCTIONS)
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))


def is_alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status")
    try:
        return "State:\tZ" not in status.read_text()
    except OSError:
        return False


def wait_for_end(pids: set[int]) -> None:
    deadline = time.monotonic() + 60
    while any(map(is_alive, pids)):
        assert time.monotonic() < deadline, pids
        time.sleep(0.05)


@pytest.mark.parametrize("num_workers", [1, 3])
def test_results_are_in_the_order_of_the_items(functions: Path, num_workers: int) -> None:
    from worker_functions import double

    found = list(map_in_order(double, iter(range(50)), num_workers=num_workers))
    assert found == [2 * i for i in range(50)]


@pytest.mark.parametrize("num_workers", [1, 2])
def test_an_error_is_raised_as_it_was(functions: Path, num_workers: int) -> None:
    from worker_functions import refuse

    results = map_in_order(refuse, range(9), num_workers=num_workers)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(CorpusError, match="no 3") as caught:
        next(results)
    assert caught.value.hint == "Leave it out."


def test_a_killed_worker_is_a_clear_error_and_the_others_end(functions: Path) -> None:
    from worker_functions import die

    with pytest.raises(XmodExtendError, match="preparing the text was ended by SIGKILL") as caught:
        list(map_in_order(die, range(9), num_workers=2))
    assert caught.value.hint is not None and "memory" in caught.value.hint


def test_workers_end_when_nobody_wants_more(functions: Path) -> None:
    from worker_functions import process_of

    results = map_in_order(process_of, iter(range(1_000)), num_workers=2)
    pids = {next(results) for _ in range(4)}
    assert os.getpid() not in pids and len(pids) == 2
    results.close()  # type: ignore[attr-defined]
    wait_for_end(pids)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_their_parent(functions: Path, how: signal.Signals) -> None:
    """Also where the script has no `if __name__ == "__main__"`, which would run it again."""
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from worker_functions import wait; from xmod_extend.text.workers import map_in_order;"
        "list(map_in_order(wait, range(1_000), num_workers=2))"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert parent.stderr is not None
    pids: set[int] = set()
    while len(pids) < 2:
        pids.add(int(parent.stderr.readline()))
    assert all(map(is_alive, pids))
    parent.send_signal(how)
    assert parent.wait(60) != 0
    wait_for_end(pids)
    parent.stderr.close()


def test_a_small_text_stays_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    assert choose_num_workers(workers.SMALL_BYTES) == 1
    assert choose_num_workers(workers.SMALL_BYTES + 1) == 15
    assert choose_num_workers(10 << 30, worker_mb=400) == 3, "no more than there is memory for"
    assert choose_num_workers(10 << 30, worker_mb=4_000) == 1
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {5}, raising=False)
    assert choose_num_workers(10 << 30) == 1
