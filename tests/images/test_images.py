"""What an image must be, and must not carry, looked at in a running container."""

import json
import os
import re
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from tests.images.archive import Archive
from tests.images.build import ROOT, Image, build, build_again
from tests.images.compare import differences
from tests.images.container import config, run
from tests.images.sbom import normal_name

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
INSTALLED = """
import importlib.metadata, subprocess
for one in importlib.metadata.distributions():
    print("pypi", one.name, one.version)
query = ["dpkg-query", "--show", "--showformat", "deb ${Package} ${Version} ${Architecture}\\n"]
print(subprocess.run(query, check=True, capture_output=True, text=True).stdout)
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


def test_its_sbom_keeps_the_schema_of_cyclonedx(image: Image) -> None:
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    assert validator.validate_str(image.sbom.read_text()) is None


def test_its_sbom_names_what_is_installed_and_nothing_else(image: Image) -> None:
    answer = run(image, "python", "-c", INSTALLED)
    installed = {purl_of(*line.split()) for line in answer.splitlines() if line}
    assert {part["purl"] for part in parts_of(image) if "purl" in part} == installed


def purl_of(kind: str, name: str, version: str, architecture: str = "") -> str:
    if kind == "pypi":
        return str(PackageURL("pypi", None, normal_name(name), version))
    return str(
        PackageURL("deb", "debian", name, version, {"arch": architecture, "distro": "bookworm"})
    )


def test_its_sbom_has_the_locked_digest_of_each_wheel(image: Image) -> None:
    lock = {"operator": "operator/requirements.txt", "trainer": "trainer/requirements-cpu.txt"}
    entries = re.split(r"\n(?=\w)", (ROOT / lock[target_of(image)]).read_text())
    hashes = {entry.split(" ")[0]: re.findall(r"sha256:(\w+)", entry) for entry in entries}
    wheels = [part for part in parts_of(image) if part.get("purl", "").startswith("pkg:pypi/")]
    assert wheels
    for wheel in wheels:
        (digest,) = (one["content"] for one in wheel["hashes"])
        assert digest in hashes[f"{normal_name(wheel['name'])}=={wheel['version']}"], wheel["name"]


def test_its_sbom_is_of_the_image_and_names_the_licence_of_each_part(image: Image) -> None:
    described = json.loads(image.sbom.read_text())["metadata"]["component"]
    with Archive.open(image.archive) as archive:
        assert described["version"] == archive.digest
    assert [part["name"] for part in parts_of(image) if not part.get("licenses")] == []
    models = {p["name"] for p in parts_of(image) if p["type"] == "machine-learning-model"}
    shipped = run(image, "sh", "-c", "ls /models 2>/dev/null || true").split()
    assert models == set(shipped)


def parts_of(image: Image) -> list[dict[str, Any]]:
    return list(json.loads(image.sbom.read_text())["components"])


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_build_from_nothing_gives_the_same_digest(image: Image) -> None:
    again = build_again(target_of(image))
    try:
        with Archive.open(image.archive) as first, Archive.open(again) as second:
            assert differences(first, second) == []
            assert first.digest == second.digest
    finally:
        again.unlink()


def test_an_unchanged_image_is_not_built_again(image: Image) -> None:
    target = target_of(image)
    first, second = build(target), build(target)
    assert first.name == second.name
    assert first.archive.stat().st_ino == second.archive.stat().st_ino


def target_of(image: Image) -> str:
    return image.name.rpartition("/")[2].partition(":")[0]
