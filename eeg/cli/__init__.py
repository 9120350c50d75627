"""The `eeg` command."""
