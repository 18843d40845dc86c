"""Whatever fails while `add` writes: the result is right or refused, the user's files are safe."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
EVERY = 150
"""Of the changes to the disk, those that each kind of fault is tried at; `inject.py` can do all."""


@pytest.mark.slow
def test_a_fault_at_any_write_leaves_the_right_result_or_a_refusal(
    base: Path, corpus: Path, tmp_path: Path
) -> None:
    compiler = shutil.which("cc")
    assert compiler is not None, "a C compiler is needed (Debian: apt-get install gcc libc6-dev)"
    library = tmp_path / "failing_disk.so"
    source = HERE / "failing_disk.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    done = subprocess.run(
        [sys.executable, HERE / "inject.py", base, corpus, tmp_path / "runs", str(EVERY)],
        env=os.environ
        | {
            "LD_PRELOAD": str(library),
            "OMP_NUM_THREADS": "1",
            "TOKENIZERS_PARALLELISM": "false",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads(done.stdout)
    assert not report["broken"], "\n\n".join(report["broken"])
    # Three scenarios, seven faults, each at several changes, and the races.
    assert report["cases"] > 25 and min(report["changes"].values()) > 40
