"""Where a pack is: a folder, or a repository on the Hub, of which only its files are fetched."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from xmod_extend.errors import ModelError
from xmod_extend.hub.client import HubRepository, fetch
from xmod_extend.model.base import BUNDLED, resolve_base
from xmod_extend.model.extension import CARD_NAME, RECORD_NAME
from xmod_extend.packs.description import DESCRIPTION_NAME, PackDescription
from xmod_extend.packs.pack import Pack, describe_pack, open_pack


@dataclass
class PackReference:
    """A pack that is known to be a folder, or that is assumed to be on the Hub.

    Attributes:
        pack: The pack as the user wrote it.
    """

    pack: str
    path: Path | None
    repository: HubRepository | None
    _description: PackDescription | None = field(default=None, repr=False)

    def describe(self) -> PackDescription:
        """Return what it says of itself; of one on the Hub nothing else is downloaded.

        Raises:
            ModelError: It is no pack.
            HubError: It cannot be downloaded.
        """
        if self._description is None:
            path = self.path
            if path is None:
                assert self.repository is not None
                path = self._fetch_description(self.repository).parent
                # The Hub's client keeps a file under snapshots/COMMIT: all files are of one commit.
                self.repository = replace(self.repository, revision=path.name)
            self._description = describe_pack(path, self.pack)
        return self._description

    def open(self) -> Pack:
        """Return the pack, downloaded if it is on the Hub.

        Raises:
            ModelError: It is no pack, or is damaged.
            HubError: It cannot be downloaded.
        """
        if self.path is not None:
            return open_pack(self.path, self.pack)
        assert self.repository is not None
        names = [DESCRIPTION_NAME, self.describe().weights_name, RECORD_NAME, CARD_NAME]
        return open_pack(fetch(self.repository, patterns=names), self.pack)

    def _fetch_description(self, repository: HubRepository) -> Path:
        try:
            return fetch(repository, path=DESCRIPTION_NAME)
        except ModelError as error:
            raise ModelError(
                f"{self.pack} has no {DESCRIPTION_NAME} on the Hub, so it is not a language pack.",
                hint="If it is a whole checkpoint, take one language out of it with "
                "`xmod-extend pack`.",
            ) from error


def resolve_pack(pack: str, *, endpoint: str | None = None) -> PackReference:
    """Decide what a pack's name means; nothing is downloaded yet.

    Args:
        pack: A folder, or an id on the Hub, also as USER/NAME@REVISION.
        endpoint: The Hub's address; by default the one that `HF_ENDPOINT` names.

    Raises:
        ModelError: It is neither a folder nor a name that the Hub allows.
    """
    if pack == BUNDLED:
        raise ModelError(
            f"`{BUNDLED}` is a whole checkpoint, not a language pack.",
            hint="Take one language out of it with `xmod-extend pack`.",
        )
    reference = resolve_base(pack, endpoint=endpoint)
    if reference.path is not None:
        return PackReference(pack, reference.path, None)
    assert reference.repo_id is not None
    repository = HubRepository(reference.repo_id, "model", reference.revision, reference.endpoint)
    return PackReference(pack, None, repository)
