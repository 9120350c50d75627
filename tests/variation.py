"""Run a command in another environment, so that tests do not come to depend on one processor.

``python tests/variation.py SEED -- COMMAND`` draws one of the environments below, prints it and runs the
command in it.  The same seed draws the same environment on the same processor.
"""

import os
import random
import subprocess
import sys

from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

_AVX2 = __cpu_features__.get("AVX2", False)
_AVX512 = __cpu_features__.get("AVX512_SKX", False)


def choices() -> dict[str, list[str]]:
    """Return the values of each environment variable that this processor can run; "" leaves it unset."""
    simd = [name for name in __cpu_dispatch__ if __cpu_features__[name]]  # each includes those before it
    return {
        "OPENBLAS_CORETYPE": ["", *["Haswell", "Zen"] * _AVX2, *["SkylakeX"] * _AVX512],
        "NPY_DISABLE_CPU_FEATURES": [" ".join(simd[first:]) for first in range(len(simd) + 1)],
        "ATEN_CPU_CAPABILITY": ["", "default", *["avx2"] * _AVX2],
        "OMP_NUM_THREADS": ["1", "2"],
        "TZ": ["UTC", "America/Lima", "Asia/Kolkata"],
    }


def draw(seed: int) -> dict[str, str]:
    """Draw an environment; tests run in the order of this seed too."""
    generator = random.Random(seed)
    drawn = {name: generator.choice(values) for name, values in choices().items()}
    drawn["PYTEST_ADDOPTS"] = f"--randomly-seed={seed}"
    return {name: value for name, value in drawn.items() if value}


if __name__ == "__main__":
    seed, separator, *command = sys.argv[1:]
    environment = draw(int(seed))
    print(f"variation {seed}:", *(f"{name}={value!r}" for name, value in environment.items()), flush=True)
    sys.exit(subprocess.run(command, env=os.environ | environment, check=False).returncode)
