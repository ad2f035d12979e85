"""What an image must be, and must not carry, looked at in a running container."""

import os

import pytest

from tests.images.build import Image, build
from tests.images.container import config, run

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="building images needs root"),
    pytest.mark.timeout(600),
]
LOAD_MODEL = """
import mxnet as mx, PIL.Image, finetune_trainer.export.artifacts, onnx, onnxruntime
assert mx.nd.dot(mx.nd.ones((2, 3)), mx.nd.ones((3, 2))).asnumpy().sum() == 12
for name in ("efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2", "mobilenet-v2"):
    model = f"/models/{name}"
    inputs = set(mx.sym.load(f"{model}/symbol.json").list_inputs())
    inputs -= {name.split(":")[1] for name in mx.nd.load(f"{model}/model.params")}
    assert inputs <= {"data", "softmax_label"}, inputs
    assert open(f"{model}/preprocessing.json").read()
"""


LOAD_LIBRARIES = """
import ctypes, pathlib, PIL.Image, mxnet, numpy, onnxruntime
files = pathlib.Path("/opt/venv").rglob("*.so*")
libraries = sorted(file for file in files if file.read_bytes()[:4] == b"\\x7fELF")
for library in libraries:
    ctypes.CDLL(str(library))
print(len(libraries))
"""
PROGRAMS = {
    "operator": "import finetune_operator.observe.kopf_watch, kopf, kubernetes.aio",
    "trainer": LOAD_MODEL,
}


@pytest.fixture(scope="module", params=list(PROGRAMS))
def image(request: pytest.FixtureRequest) -> Image:
    return build(request.param)


def test_its_programs_work_for_its_user_on_a_read_only_root(image: Image) -> None:
    run(image, "python", "-c", PROGRAMS[target_of(image)])
    assert run(image, "id", "-u", "-n") == "nonroot"
    refusal = run(image, "sh", "-c", "touch /app/x 2>&1 || true")
    assert refusal.endswith("Read-only file system")


def test_it_starts_its_module(image: Image) -> None:
    settings = config(image)
    start = [*settings["Entrypoint"], *settings.get("Cmd", [])]
    expected = {
        "operator": ["python", "-m", "finetune_operator"],
        "trainer": ["python", "-m", "finetune_trainer", "supervise"],
    }
    assert start == expected[target_of(image)]
    assert settings["User"] == "65532:65532"
    assert settings["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0"


def test_it_has_no_compiler_no_installer_and_no_caches(image: Image) -> None:
    tools = "cc gcc g++ ld make pip pip3 curl wget git"
    assert run(image, "sh", "-c", f"for tool in {tools}; do command -v $tool; done; true") == ""
    caches = "/var/lib/apt/lists /var/cache/apt /root/.cache /tmp"
    assert run(image, "sh", "-c", f"find {caches} -type f 2>/dev/null || true") == ""


def test_it_knows_nothing_of_the_machine_that_built_it(image: Image) -> None:
    names = {variable.partition("=")[0].upper() for variable in config(image)["Env"]}
    assert not {name for name in names if name.startswith("PIP_") or name.endswith("_PROXY")}
    left = "/ca.crt /etc/pip.conf /etc/hostname /etc/resolv.conf /run/secrets/ca"
    found = run(image, "sh", "-c", f"find {left} -size +0 2>/dev/null || true")
    assert found == ""
    trusted = "cat /etc/ssl/certs/*.crt 2>/dev/null | grep -c BEGIN || true"
    shipped = "find /usr/share/ca-certificates -name '*.crt' 2>/dev/null | wc -l"
    assert run(image, "sh", "-c", trusted) == run(image, "sh", "-c", shipped)


def test_its_bytecode_is_used_without_a_look_at_the_source(image: Image) -> None:
    # Bytes 4 to 8 of a file: 1 is a hash of the source that nobody checks, 0 its date and size.
    script = """
import pathlib
files = [f for root in ("/usr/lib", "/opt/venv", "/app") for f in pathlib.Path(root).rglob("*.pyc")]
others = [file for file in files if file.read_bytes()[4:8] != bytes((1, 0, 0, 0))]
assert files and not others, others
"""
    run(image, "python", "-c", script)


def test_each_of_its_libraries_loads(image: Image) -> None:
    loads = {"operator": LOAD_LIBRARIES.replace("PIL.Image, mxnet, numpy, onnxruntime", "kopf")}
    assert int(run(image, "python", "-c", loads.get(target_of(image), LOAD_LIBRARIES))) > 10


def test_an_unchanged_image_is_not_built_again(image: Image) -> None:
    target = target_of(image)
    first, second = build(target), build(target)
    assert first.name == second.name
    assert first.archive.stat().st_ino == second.archive.stat().st_ino


def target_of(image: Image) -> str:
    return image.name.rpartition("/")[2].partition(":")[0]
