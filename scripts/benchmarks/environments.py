"""The environments of the contenders that cannot live in this one, made once and then reused.

usage: python scripts/benchmarks/environments.py NAME … [--envs DIR]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

CACHE = Path("~/.cache/xmod-extend-benchmarks").expanduser()
TORCH = "torch==2.13.0"
"""Where pip finds it, as a build for processors or for a GPU, is a matter of pip's own settings."""

REQUIREMENTS: dict[str, tuple[str, ...]] = {
    "transformers-4.57.6": (TORCH, "numpy==2.4.6", "transformers==4.57.6"),
    # Its scorer calls `batch_encode_plus`, which transformers 5 no longer has.
    "minicons-0.3.39": (TORCH, "numpy==2.4.6", "transformers==4.57.6", "minicons==0.3.39"),
    "adapters-1.3.0": (TORCH, "numpy==2.4.6", "transformers==4.57.6", "adapters==1.3.0"),
}


class EnvironmentFailedError(Exception):
    """An environment could not be made."""


def find_environment(name: str, folder: Path) -> Path | None:
    """The interpreter of environment `name`, if it is there and has these versions."""
    finished = folder / name / "requirements-installed.txt"
    if finished.is_file() and finished.read_text() == "\n".join(REQUIREMENTS[name]):
        return folder / name / "bin" / "python"
    return None


def ensure_environment(name: str, folder: Path) -> Path:
    """Returns the interpreter of environment `name` in `folder`, made if it is not there.

    Raises:
        EnvironmentFailedError: With the last line of what `venv` or pip said.
    """
    found = find_environment(name, folder)
    if found is not None:
        return found
    home = folder / name
    python = home / "bin" / "python"
    print(f"making the environment {home}", file=sys.stderr)
    _run([sys.executable, "-m", "venv", "--clear", str(home)])
    _run([str(python), "-m", "pip", "install", "--quiet", *REQUIREMENTS[name]])
    # Written last: an installation that was cut short, or of other versions, is done again.
    (home / "requirements-installed.txt").write_text("\n".join(REQUIREMENTS[name]))
    return python


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise EnvironmentFailedError(f"{' '.join(command[:4])} …: {''.join(said)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="+", choices=REQUIREMENTS, metavar="NAME")
    parser.add_argument("--envs", type=Path, default=CACHE, help=f"default: {CACHE}")
    given = parser.parse_args()
    for name in given.names:
        try:
            print(ensure_environment(name, given.envs))
        except EnvironmentFailedError as error:
            sys.exit(str(error))


if __name__ == "__main__":
    main()
