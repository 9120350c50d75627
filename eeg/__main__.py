"""The command `eeg` as ``python -m eeg``."""

from eeg.cli.main import main

if __name__ == "__main__":
    main(prog_name="eeg")
