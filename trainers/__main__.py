"""``python -m trainers``, and so ``torchrun --nproc-per-node N -m trainers``: the command `hebbian`."""

import os
from contextlib import redirect_stdout

from trainers.cli.main import main


def run_as_launched() -> None:
    """Run the command; where torchrun started several processes, as all of them, of which one speaks."""
    if "LOCAL_RANK" not in os.environ:
        main(prog_name="hebbian")
        return
    from trainers.distributed import processes, rank

    with processes(), open(os.devnull, "w") as nowhere:
        if rank() == 0:
            main(prog_name="hebbian")
        else:
            with redirect_stdout(nowhere):
                main(prog_name="hebbian")


if __name__ == "__main__":
    run_as_launched()
