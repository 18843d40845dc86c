"""The README and docs/ as the tests read them: their code blocks, commands and links, in order."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
DOCUMENTS = {
    str(path.relative_to(ROOT)): path
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
}

NOT_RUN = {
    "scripts/demo": "it installs into .venv",
    "scripts/test": "it runs this test",
    "hf auth login": "it asks for a token",
    "pip install .": "it installs; scripts/build tries the wheel",
    "tensorboard --logdir tiny-watched.logs": "it serves until it is stopped",
}
"""The commands that no test runs, and why."""


@dataclass(frozen=True)
class Block:
    """A fenced block of a document."""

    language: str
    text: str

    @property
    def commands(self) -> list[str]:
        """The lines of a shell block, or those after a prompt in a terminal's."""
        lines = [line.strip() for line in self.text.replace("\\\n", " ").splitlines()]
        if self.language == "console":
            return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        return [line for line in lines if line] if self.language == "sh" else []

    @property
    def output(self) -> str:
        """What a terminal shows after the command; `...` stands for what is left out."""
        return self.text.split("\n", 1)[1]


def read_blocks(path: Path) -> list[Block]:
    """Return a document's fenced blocks in their order."""
    found = re.findall(
        r"^```(\w+)\n(.*?)^```$", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE
    )
    return [Block(*block) for block in found]


def all_commands() -> list[str]:
    """Return every command of every document."""
    return [
        command
        for path in DOCUMENTS.values()
        for block in read_blocks(path)
        for command in block.commands
    ]
