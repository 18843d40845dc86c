"""What is published beside the weights."""
