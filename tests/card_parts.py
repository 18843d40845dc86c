"""Parts of a model card, as a reader of Markdown sees them."""

from __future__ import annotations

import re
from typing import Any

from huggingface_hub import ModelCard
from markdown_it import MarkdownIt


def render(card: str) -> list[Any]:
    """The tokens of a card's Markdown, those within lines as well."""
    text = ModelCard(card).text
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    tokens = parser.parse(text)
    return [*tokens, *(child for token in tokens for child in token.children or [])]


def shape(card: str) -> list[str]:
    """The kinds of a card's parts in their order, all but the text."""
    plain = ("text", "code_inline", "text_special", "softbreak", "strong_open", "strong_close")
    kinds = [token.type for token in render(card) if token.type not in plain]
    return [kind for kind in kinds if not kind.startswith(("link_", "inline"))]


def links(card: str) -> set[str]:
    return {token.attrs["href"] for token in render(card) if token.type == "link_open"}


def code_blocks(card: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", card, flags=re.DOTALL | re.MULTILINE)
