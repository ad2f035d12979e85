"""GPUs by NVML: what is read of them, and that no error of the driver is more than a gap."""

import sys
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NoReturn

import pynvml
import pytest
from finetune_trainer.contract import JobRef
from finetune_trainer.pipeline import STAGES
from finetune_trainer.supervisor import gpus
from finetune_trainer.supervisor.gpus import Gpu, read_gpus
from finetune_trainer.supervisor.metrics import registry
from finetune_trainer.supervisor.run_status import RunStatus
from prometheus_client import generate_latest

from tests.trainer.contract.test_schema import check_with_promtool

GIB = 2**30


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Replace the driver's functions, of which this machine has none; those of two GPUs first."""

    def answer(**functions: Any) -> None:
        for name, function in functions.items():
            monkeypatch.setattr(pynvml, name, function)

    answer(
        nvmlInit=lambda: None,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetCount=lambda: 2,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetMemoryInfo=lambda gpu: SimpleNamespace(used=(gpu + 1) * GIB, total=8 * GIB),
        nvmlDeviceGetUtilizationRates=lambda gpu: SimpleNamespace(gpu=75),
    )
    return answer


def fail(*_: object) -> NoReturn:
    raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)


def page() -> bytes:
    run_status = RunStatus(JobRef(uid="u", attempt=1, pod_uid="p"), stages=STAGES)
    return bytes(generate_latest(registry(run_status, STAGES)))


def test_without_a_driver_there_are_no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    def not_found(name: str) -> NoReturn:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(pynvml, "nvmlLib", None)
    monkeypatch.setattr(pynvml, "CDLL", not_found)
    assert read_gpus() == ()
    assert b"gpu" not in page()


def test_without_the_package_there_are_no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert read_gpus() == ()


@pytest.mark.usefixtures("driver")
def test_each_gpu_has_its_memory_and_utilization() -> None:
    assert read_gpus() == (Gpu(0, GIB, 8 * GIB, 0.75), Gpu(1, 2 * GIB, 8 * GIB, 0.75))
    text = page()
    for line in (
        'finetune_trainer_gpu_memory_used_bytes{gpu="1"} 2.147483648e+09',
        'finetune_trainer_gpu_memory_total_bytes{gpu="1"} 8.589934592e+09',
        'finetune_trainer_gpu_utilization_ratio{gpu="1"} 0.75',
    ):
        assert line.encode() in text
    check_with_promtool(text)


def test_a_part_of_a_gpu_has_memory_alone(driver: Callable[..., None]) -> None:
    driver(nvmlDeviceGetUtilizationRates=fail)
    assert [gpu.utilization for gpu in read_gpus()] == [None, None]
    text = page()
    assert b"gpu_memory_used_bytes{" in text
    assert b"gpu_utilization_ratio{" not in text


def test_a_gpu_that_fails_is_left_out(driver: Callable[..., None]) -> None:
    def lost(gpu: int) -> Any:
        return fail() if gpu == 0 else SimpleNamespace(used=GIB, total=8 * GIB)

    driver(nvmlDeviceGetMemoryInfo=lost)
    assert [gpu.index for gpu in read_gpus()] == [1]


def test_a_driver_that_hangs_keeps_one_thread_and_no_later_scrape(
    driver: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpus, "WAIT_SECONDS", 0.01)
    hangs, goes_on = threading.Event(), threading.Event()

    def hang() -> None:
        hangs.set()
        goes_on.wait()

    driver(nvmlInit=hang)
    first = threading.Thread(target=read_gpus)
    first.start()
    hangs.wait()
    assert read_gpus() == ()
    goes_on.set()
    first.join()
    assert len(read_gpus()) == 2


@pytest.mark.parametrize("function", ["nvmlInit", "nvmlDeviceGetCount"])
def test_a_driver_that_fails_is_no_error(driver: Callable[..., None], function: str) -> None:
    driver(**{function: fail})
    assert read_gpus() == ()
