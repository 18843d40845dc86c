"""What the program writes on a disk: whole or not there, marked as its own, held by one run."""
