"""The GPUs that this container sees, by NVML, the library of NVIDIA's driver."""

import contextlib
import dataclasses
import threading

WAIT_SECONDS = 1.0
_ONE_READER = threading.Lock()
"""A driver can hang: then one thread waits for it, not one more with each scrape."""


@dataclasses.dataclass(frozen=True)
class Gpu:
    """One GPU at this moment."""

    index: int
    memory_used: int
    memory_total: int
    """Bytes."""
    utilization: float | None
    """Share of the last second or less in which a kernel ran, 0 to 1; None: a part of a GPU (MIG)
    does not tell."""


def read_gpus() -> tuple[Gpu, ...]:
    """Return the GPUs; none without NVML, and none that fails. No error of NVML is raised."""
    if not _ONE_READER.acquire(timeout=WAIT_SECONDS):
        return ()
    try:
        return tuple(_read_all())
    finally:
        _ONE_READER.release()


def _read_all() -> list[Gpu]:
    found: list[Gpu] = []
    try:
        import pynvml  # in the GPU image alone
    except ImportError:
        return found
    with contextlib.suppress(pynvml.NVMLError):
        pynvml.nvmlInit()
        for index in range(pynvml.nvmlDeviceGetCount()):
            with contextlib.suppress(pynvml.NVMLError):
                found.append(_read(index))
        pynvml.nvmlShutdown()
    return found


def _read(index: int) -> Gpu:
    import pynvml

    device = pynvml.nvmlDeviceGetHandleByIndex(index)
    memory = pynvml.nvmlDeviceGetMemoryInfo(device)
    utilization = None
    with contextlib.suppress(pynvml.NVMLError):
        utilization = pynvml.nvmlDeviceGetUtilizationRates(device).gpu / 100
    return Gpu(index, memory.used, memory.total, utilization)
