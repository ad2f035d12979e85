"""Each network of the catalogue trains with nothing but its name, to a model that answers."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import finetune_trainer
import pytest
from finetune_trainer.dataset.lock import read_lock
from finetune_trainer.dataset.stored_size import stored_size
from finetune_trainer.model import catalogue

from tests.servers import web
from tests.trainer.support.datasets import make_photos
from tests.trainer.support.reference import resnet_state
from tests.trainer.support.weight_files import pth

ENTRIES = catalogue.entries()
IMAGENET = 1000
CLASSES = {"bird": 10, "cat": 10, "dog": 10}
FAST = "efficientnet-lite1"
MANIFEST = """\
apiVersion: finetune-operator.dev/v1alpha1
kind: FineTuneJob
metadata: {name: photos}
spec:
  model: {name: NAME}
  dataset: {source: {uri: "pvc://photos"}}
  output: {uri: "pvc://models"}
"""


@contextlib.contextmanager
def served(name: str, root: Path) -> Iterator[dict[str, str]]:
    """Give the variables with which the trainer fetches drawn weights from here, if it fetches any.

    It runs from a copy of its package, whose catalogue names this server and their digest.
    """
    entry = ENTRIES[name]
    if entry.package or not entry.download:
        yield {}
        return
    weights = pth(resnet_state(int(name.removeprefix("resnet-")), classes=IMAGENET))
    certificate = web.make_certificate(root / "certificate.pem")
    with web.serve(weights, certificate=certificate) as site:
        copy = root / "trainer" / "finetune_trainer"
        shutil.copytree(Path(finetune_trainer.__file__).parent, copy)
        listed = copy / "model" / "catalogue.yaml"
        text = listed.read_text().replace(entry.download.uri, site.url)
        digest = f'sha256Prefix: "{sha256(weights).hexdigest()[:8]}"'
        old = f'sha256Prefix: "{entry.download.sha256_prefix}"'
        assert (site.url in text, text.count(old)) == (True, 1)
        listed.write_text(text.replace(old, digest))
        yield {"PYTHONPATH": str(copy.parent), "SSL_CERT_FILE": str(certificate)}
        assert len(site.requests) > 0


def trainer(*arguments: str | Path, variables: dict[str, str]) -> str:
    """Run a command of the trainer; return what it prints."""
    path = [variables.get("PYTHONPATH", ""), *sys.path]
    environment = os.environ | {"no_proxy": "127.0.0.1"} | variables
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, path))
    command = [sys.executable, "-m", "finetune_trainer", *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def train(name: str, photos: Path, root: Path) -> Path:
    """Train the network on the photos; return the folder of its model, which was tried."""
    manifest = root / "job.yaml"
    manifest.write_text(MANIFEST.replace("NAME", name))
    with served(name, root) as variables:
        variables |= {"XDG_CACHE_HOME": str(root / "cache")}
        places = [f"--workspace={root / 'workspace'}", f"--output={root / 'output'}"]
        printed = trainer("run", manifest, f"--data={photos}", *places, variables=variables)
        accuracy = re.findall(r"^accuracy (\S+)", printed, re.MULTILINE)[-1]
        latest: dict[str, Any] = json.loads((root / "output/photos/latest.json").read_text())
        model = root / "output/photos" / str(latest["uid"])
        answers = json.loads(trainer("predict", model, photos, "--json", variables=variables))
    assert len(answers) == sum(1 for _ in photos.glob("*/*"))
    assert float(accuracy) == pytest.approx(latest["accuracy"], abs=1e-4)
    return model


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n == FAST else [pytest.mark.slow]) for n in ENTRIES]
)
def test_a_network_trains_with_nothing_but_its_name(name: str, tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", CLASSES)
    model = train(name, photos, tmp_path)
    preprocessing = json.loads((model / "preprocessing.json").read_text())
    stored = stored_size(ENTRIES[name].input_size)
    assert preprocessing["inputSize"] == ENTRIES[name].input_size
    assert preprocessing["resizeShort"] == stored
    (packed,) = (path.parent for path in tmp_path.glob("workspace/packed/*/train.rec"))
    assert read_lock(packed).settings.resize_short == stored
    assert (model / "model.onnx").is_file()
