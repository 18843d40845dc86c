"""The text: read, clean, split, tokenise, pack, mask."""
