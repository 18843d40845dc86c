"""What is predicted from what: inputs, positions, targets."""
