"""Language packs: one language's adapter in a folder of its own, to be shared and installed."""
