"""The `hebbian` command."""
