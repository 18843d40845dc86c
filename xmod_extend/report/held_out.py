"""The held-out sentences of a run with their losses, for the one who made the run.

They are in memory alone: a record that is written has none of the user's text but a few examples.

    D  sentences with a scored token
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from xmod_extend.evaluation.losses import Floats, TokenLosses
from xmod_extend.report.side_by_side import Row, compared_row
from xmod_extend.text.lines import LinesInMemory, StoredLines
from xmod_extend.tokens.blocks import Ids

MOST_CHARACTERS = 10_000
"""Characters of a line that are kept, so that a text of endless lines does not fill memory."""


@dataclass(frozen=True, kw_only=True)
class HeldOutSentences:
    """Sums over the scored tokens of each sentence, before and after; each (D,)."""

    texts: list[str]
    documents: Ids
    """Their places among the held-out lines, counted from 0."""
    num_tokens: Ids
    before: Floats
    """Nats with the best existing adapter."""
    after: Floats
    """Nats with the new one."""

    @classmethod
    def from_losses(
        cls, lines: StoredLines | LinesInMemory, before: TokenLosses, after: TokenLosses
    ) -> HeldOutSentences:
        """Read the sentences whose tokens were scored.

        Args:
            lines: All held-out lines.
            before: Losses with the best existing adapter.
            after: Losses of the same tokens with the new one.
        """
        first, second = before.by_document(), after.by_document()
        return cls(
            texts=[text[:MOST_CHARACTERS] for text in lines.take(first.documents)],
            documents=first.documents,
            num_tokens=first.num_tokens,
            before=first.nats,
            after=second.nats,
        )

    def rows(self) -> Iterator[Row]:
        """Yield a row for each sentence; see `compared_row`."""
        for document, text, count, before, after in zip(
            self.documents.tolist(),
            self.texts,
            self.num_tokens.tolist(),
            self.before.tolist(),
            self.after.tolist(),
            strict=True,
        ):
            yield compared_row(document + 1, text, count, before, after)
