"""One module a command: what the command does, as a Python function."""
