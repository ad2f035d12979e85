"""Checks the GPU image as far as a machine without a GPU can; docs/gpu.md says what that leaves."""

import base64
import tempfile
from pathlib import Path

from tests.images.build import Image
from tests.images.container import Mounts, run

PACKAGES = "/opt/venv/lib/python3.11/site-packages"
STUB = "/lib/libcuda.so.1"
# Where NVIDIA's container runtime mounts the driver, and where nodes without it do.
DRIVERS = ("/usr/lib/x86_64-linux-gnu/libcuda.so.1", "/usr/local/nvidia/lib64/libcuda.so.1")
DROPPED = ("cusolverMg", "nvblas", "cufftw", "OpenCL")
WITHOUT_GPU = """
import time
start = time.monotonic()
import mxnet as mx
took = time.monotonic() - start
features = mx.runtime.Features()
assert features.is_enabled("CUDA") and features.is_enabled("CUDNN")
assert mx.context.num_gpus() == 0
assert mx.nd.dot(mx.nd.ones((2, 3)), mx.nd.ones((3, 2))).asnumpy().sum() == 12
from finetune_trainer.contract import TrainerError
from finetune_trainer.model.inference import contexts_of
try:
    contexts_of(gpus=1)
except TrainerError as error:
    refusal = f"{error.code.name}, {error.message}; {error.hint}"
from finetune_trainer.export.tensorboard import EVENTS, write_events
from finetune_trainer.run.history import Row
from finetune_trainer.supervisor.gpus import read_gpus
import pathlib, pynvml
assert read_gpus() == ()
events = pathlib.Path("/tmp", EVENTS)
write_events(events, (Row(1, 0.5, 1.0, 0.5, 1.0),))
assert events.stat().st_size
print(f"import mxnet {mx.__version__}: {took:.1f} s, num_gpus() == 0, a CPU operation works")
print(f"a job with 1 GPU: {refusal}")
print("NVML without a driver is no error, and an event file can be written")
"""


def check(image: Image) -> None:
    """Print what holds of the image; end at the first thing that does not."""
    compressed = image.compressed_bytes() / 1e6
    unpacked = run(image, "sh", "-c", "du -xsm / 2>/dev/null || true").split()[0]
    print(f"{image.name}: {compressed:.0f} MB compressed, {unpacked} MB unpacked")
    found = libraries(image)
    missing = [name for name, path in found.items() if path == "not"]
    assert not missing, missing
    assert found["libcuda.so.1"] == STUB, found["libcuda.so.1"]
    print(f"ldd libmxnet.so: {len(found)} libraries, none missing, libcuda.so.1 is the stub")
    for driver in DRIVERS:
        # /lib is a link to /usr/lib: the loader may name either.
        taken = libraries_with(image, driver)["libcuda.so.1"]
        assert taken in (driver, driver.removeprefix("/usr")), taken
        print(f"a driver at {driver} comes before the stub")
    print(run(image, "python", "-c", WITHOUT_GPU))
    names = "|".join(f"lib{name}" for name in DROPPED)
    find = f"grep -rlaE '{names}' {PACKAGES}/nvidia {PACKAGES}/mxnet --include='*.so*' || true"
    assert run(image, "sh", "-c", find) == ""
    print(f"no library in the image names the dropped ones: {', '.join(DROPPED)}")


def libraries_with(image: Image, driver: str) -> dict[str, str]:
    """Map libraries to files where a driver (here a copy of the stub) is mounted at a path."""
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory, "libcuda.so.1")
        read = f"import base64; print(base64.b64encode(open('{STUB}', 'rb').read()).decode())"
        copy.write_bytes(base64.b64decode(run(image, "python", "-c", read)))
        return libraries(image, mounts={driver: copy})


def libraries(image: Image, *, mounts: Mounts | None = None) -> dict[str, str]:
    """Map each library that libmxnet.so needs to the file that the loader takes."""
    answer = run(image, "ldd", f"{PACKAGES}/mxnet/libmxnet.so", mounts=mounts)
    lines = (line.split() for line in answer.splitlines() if "=>" in line)
    return {words[0]: words[2] for words in lines}
