"""Measurements: how well an adapter models text, and that nothing else changed."""
