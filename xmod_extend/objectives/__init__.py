"""Training objectives: from blocks of text to inputs, positions and targets."""
