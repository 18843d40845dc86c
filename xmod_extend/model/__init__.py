"""The checkpoint: open it, slice it, put an adapter into it, write it."""
