"""From lines of text to ids."""
