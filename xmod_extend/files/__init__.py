"""Files and folders: written atomically, marked as the program's own, locked by one run."""
