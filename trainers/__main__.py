"""The command `hebbian` as ``python -m trainers``, or ``torchrun --nproc-per-node N -m trainers``."""

import os
from contextlib import redirect_stdout

from trainers.cli.main import main


def run_as_launched() -> None:
    """Run the command; of several processes started by torchrun, only the first one prints."""
    if "LOCAL_RANK" not in os.environ:
        main(prog_name="hebbian")
        return
    from trainers.distributed import processes, rank

    with processes(), open(os.devnull, "w") as sink:
        if rank() == 0:
            main(prog_name="hebbian")
        else:
            with redirect_stdout(sink):
                main(prog_name="hebbian")


if __name__ == "__main__":
    run_as_launched()
