"""The environments of the contenders that cannot live in this one, made once and then reused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TORCH = "torch==2.13.0"
"""Where pip finds it, as a build for processors or for a GPU, is a matter of pip's own settings."""

REQUIREMENTS: dict[str, tuple[str, ...]] = {
    "transformers-4.57.6": (TORCH, "numpy==2.4.6", "transformers==4.57.6"),
    "adapters-1.3.0": (TORCH, "numpy==2.4.6", "transformers==4.57.6", "adapters==1.3.0"),
}


class EnvironmentFailedError(Exception):
    """An environment could not be made."""


def ensure_environment(name: str, folder: Path) -> Path:
    """Returns the interpreter of environment `name` in `folder`, made if it is not there.

    Raises:
        EnvironmentFailedError: With the last line of what `venv` or pip said.
    """
    home = folder / name
    python = home / "bin" / "python"
    requirements = "\n".join(REQUIREMENTS[name])
    # Written last: an installation that was cut short, or of other versions, is done again.
    finished = home / "requirements-installed.txt"
    if finished.is_file() and finished.read_text() == requirements:
        return python
    print(f"making the environment {home}", file=sys.stderr)
    _run([sys.executable, "-m", "venv", "--clear", str(home)])
    _run([str(python), "-m", "pip", "install", "--quiet", *REQUIREMENTS[name]])
    finished.write_text(requirements)
    return python


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise EnvironmentFailedError(f"{' '.join(command[:4])} …: {''.join(said)}")
