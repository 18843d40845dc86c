"""Text from data sets on the Hugging Face Hub."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from xmod_extend.errors import CorpusError
from xmod_extend.hub.client import HubRepository, ask_hub, first_line, hub_error, quiet

HUB_PREFIX = "hf://datasets/"

_ADDRESS = re.compile(
    re.escape(HUB_PREFIX)
    + r"(?P<repository>[^/@\s]+/[^/@\s]+)(?:@(?P<revision>[^/\s]+))?(?:/(?P<path>.+))?"
)


@dataclass(frozen=True)
class HubAddress:
    """`hf://datasets/USER/NAME[@REVISION][/path/in/repository]`, taken apart."""

    repository: str
    revision: str | None
    path: str | None

    @classmethod
    def parse(cls, address: str) -> HubAddress:
        """Take an address apart.

        Raises:
            CorpusError: It has another form.
        """
        match = _ADDRESS.fullmatch(address.rstrip("/"))
        if match is None:
            raise CorpusError(
                f"{address} is not the address of a data set.",
                hint=f"Write {HUB_PREFIX}USER/NAME[@REVISION][/path/in/repository].",
            )
        return cls(**match.groupdict())

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        path = f"/{self.path}" if self.path else ""
        return f"{HUB_PREFIX}{self.repository}{revision}{path}"

    @property
    def data_set(self) -> HubRepository:
        """What the Hub is asked for."""
        return HubRepository(self.repository, "dataset", self.revision)


def fetch_training_split(address: HubAddress) -> list[Path]:
    """Bring a whole data set's training split into `datasets`' cache, as Arrow files.

    Raises:
        CorpusError: The data set has no training split, or several configurations.
        HubError: The Hub cannot be reached, does not know it, or refuses it.
    """
    import datasets
    from huggingface_hub import is_offline_mode

    with _explained(address, f"There is no training split in {address.data_set}"):
        problem = ask_hub(address.data_set)
        if problem is not None and not is_offline_mode():
            # In offline mode `datasets` finds what it has; otherwise it asks for half a minute.
            raise problem
        split = datasets.load_dataset(address.repository, split="train", revision=address.revision)
        return [Path(entry["filename"]) for entry in split.cache_files]


def stream_training_split(address: HubAddress, *, column: str) -> Iterator[list[str]]:
    """Yield a data set's training split, or one of its files, row by row over the network.

    Args:
        address: The data set, or a file in it.
        column: The one that holds the text; of a .txt file it is its lines.

    Raises:
        CorpusError: There is no training split or no such column.
        HubError: The Hub cannot be reached, does not know it, or refuses it.
    """
    import datasets

    is_plain = address.path is not None and ".txt" in Path(address.path).name
    column = "text" if is_plain else column
    with _explained(address, f"{address} cannot be streamed"):
        if problem := ask_hub(address.data_set):
            raise problem
        split = datasets.load_dataset(
            address.repository,
            data_files=address.path,
            split="train",
            revision=address.revision,
            streaming=True,
        )
        for batch in split.iter(batch_size=1_000):
            if column not in batch:
                raise CorpusError(
                    f"{address} has no column {column!r} (found {', '.join(batch)}).",
                    hint="Name the column that holds the text with --text-field.",
                )
            yield [value or "" for value in batch[column]]


@contextlib.contextmanager
def _explained(address: HubAddress, what: str) -> Iterator[None]:
    """Keep `datasets` quiet inside the block, and turn what it raises into our own errors.

    Args:
        what: How a sentence begins about a split that is unknown, or a choice that is missing.
    """
    from huggingface_hub import errors

    try:
        with quiet_datasets():
            yield
    except (CorpusError, GeneratorExit):
        raise
    except Exception as error:
        of_the_hub = (errors.HfHubHTTPError, errors.HFValidationError)
        if isinstance(error, ValueError) and not isinstance(error, of_the_hub):
            raise CorpusError(
                f"{what}: {first_line(error)}.",
                hint=f"Name one of its files: {HUB_PREFIX}{address.repository}/path/in/repository.",
            ) from error
        raise hub_error(error, address.data_set, path=address.path) from error


@contextlib.contextmanager
def quiet_datasets() -> Iterator[None]:
    """Show no progress bars and log lines of `datasets` inside the block.

    A user's HF_DATASETS_DISABLE_PROGRESS_BARS has priority; what was set before is restored.
    """
    import datasets

    is_shown = (
        datasets.config.HF_DATASETS_DISABLE_PROGRESS_BARS is None
        and not datasets.are_progress_bars_disabled()
    )
    if is_shown:
        datasets.disable_progress_bars()
    try:
        with quiet("datasets", "huggingface_hub"):
            yield
    finally:
        if is_shown:
            datasets.enable_progress_bars()
