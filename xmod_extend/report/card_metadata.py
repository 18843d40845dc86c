"""A card's metadata, held against the rules of the Hub as far as they are known offline."""

from __future__ import annotations


def check_metadata(card: str) -> list[str]:
    """Return what the Hub would refuse of a card, in sentences."""
    import yaml
    from huggingface_hub import ModelCard

    try:
        ModelCard(card)
    except (ValueError, yaml.YAMLError) as error:
        return [f"The metadata cannot be read: {' '.join(str(error).split())}"]
    return []
