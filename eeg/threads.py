"""One thread in each process."""


def one_thread() -> None:
    """Use one thread: small networks gain nothing from more, and --jobs uses the other cores."""
    import scipy.linalg  # noqa: F401 (only loaded libraries are limited)
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(1)
    threadpool_limits(1)  # of linear algebra in NumPy and SciPy
