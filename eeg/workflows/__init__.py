"""One module per command: the command as a Python function."""
