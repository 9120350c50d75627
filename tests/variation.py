"""Run the tests as on another processor: ``python -m tests.variation SEED COMMAND ...``.

The seed draws an environment, of those that this processor can run, and the order of the tests.
"""

import os
import platform
import random
import subprocess
import sys

from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__


def choices() -> dict[str, list[str]]:
    """Return the values of each environment variable from which `draw` chooses; "" leaves it unset."""
    avx2, avx512 = (__cpu_features__.get(name, False) for name in ("AVX2", "AVX512_SKX"))
    simd = [name for name in __cpu_dispatch__ if __cpu_features__[name]]  # each includes those before it
    choices = {
        "OMP_NUM_THREADS": ["1", "2"],
        "OPENBLAS_CORETYPE": ["", *["Haswell", "Zen"] * avx2, *["SkylakeX"] * avx512],  # NumPy, SciPy
        "NPY_DISABLE_CPU_FEATURES": [" ".join(simd[first:]) for first in range(len(simd) + 1)],
        "ATEN_CPU_CAPABILITY": ["", "default", *["avx2"] * avx2],  # PyTorch
        "TZ": ["UTC", "America/Lima", "Asia/Kolkata"],
    }
    if platform.machine() in ("x86_64", "AMD64"):
        choices["OPENBLAS_CORETYPE"].append("Prescott")
        choices["MKL_CBWR"] = ["", "COMPATIBLE"]  # PyTorch's products
        choices["ONEDNN_MAX_CPU_ISA"] = ["", "SSE41"]  # PyTorch's convolutions
        choices["GLIBC_TUNABLES"] = [
            "",
            "glibc.cpu.hwcaps=-AVX2,-FMA,-AVX512F",
        ]  # exp, sin, log of the C library
    return choices


def draw(seed: int) -> dict[str, str]:
    """Draw an environment."""
    generator = random.Random(seed)
    drawn = {name: generator.choice(values) for name, values in choices().items()}
    return {name: value for name, value in drawn.items() if value}


if __name__ == "__main__":
    seed, *command = sys.argv[1:]
    environment = draw(int(seed)) | {"PYTEST_ADDOPTS": f"--randomly-seed={int(seed)}"}
    print(f"variation {seed}:", *(f"{name}={value!r}" for name, value in environment.items()), flush=True)
    sys.exit(subprocess.run(command, env=os.environ | environment, check=False).returncode)
