"""Every file of the hostile corpus has the expected fate, and none takes much memory."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest
from finetune_trainer.dataset.lock import File

from tests.trainer.support.datasets import Prepared, make_photos, prepare_photos
from tests.trainer.support.hostile import BAD, OK, make_corpus


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    root = tmp_path_factory.mktemp("hostile")
    photos = make_photos(root / "photos", {"dog": 4}, seed=900)
    assert make_corpus(photos / "cat") >= 40
    return prepare_photos(root, photos, image={"resizeShort": 40}, badImages={"maxFraction": "1"})


def fate_of(prepared: Prepared, name: str) -> File:
    return prepared.file(f"cat/{name}")


@pytest.mark.parametrize("name", OK)
def test_an_unusual_photo_is_packed_and_the_change_noted(prepared: Prepared, name: str) -> None:
    file = fate_of(prepared, name)
    assert (file.fate, file.reason) == ("packed", "")
    assert file.note == OK[name][1]


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_is_no_photo_is_rejected_with_the_reason(prepared: Prepared, name: str) -> None:
    file = fate_of(prepared, name)
    assert file.fate == "rejected"
    assert file.reason
    assert BAD[name][1].lower() in file.reason.lower()


def test_the_corpus_is_packed_in_less_than_a_gigabyte(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", {"dog": 4}, seed=900)
    make_corpus(photos / "cat")
    program = (
        "import sys; from pathlib import Path;"
        "from tests.trainer.support.datasets import prepare_photos;"
        "prepare_photos(Path(sys.argv[1]), Path(sys.argv[2]), badImages={'maxFraction': '1'})"
    )
    command = [sys.executable, "-c", program, str(tmp_path), str(photos)]
    limit = 1 << 30

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

    # Address space, so that each process stays below the limit, whatever the machine has.
    done = subprocess.run(command, preexec_fn=limited, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "memory" not in done.stdout.lower()
