from pathlib import Path

import pytest
from finetune_trainer.run.hidden_files import is_skipped, visible

SKIPPED = [
    ".DS_Store", "._cat.jpg", ".AppleDouble", "__MACOSX", "Icon\r", "Network Trash Folder",
    "Temporary Items", "Thumbs.db", "thumbs.db", "ehthumbs.db", "Desktop.ini", "$RECYCLE.BIN",
    "$Recycle.Bin", "RECYCLER", "System Volume Information", "found.000", "FOUND.012",
    "lost+found", "@eaDir", "@Recycle", "@Recently-Snapshot", "@tmp", "#recycle", "#snapshot",
    "._cat.jpg.icloud", ".cat.jpg.backup", ".notes.txt.icloud", ".cat.jpg", ".cat.jpg.part.1",
]  # fmt: skip
KEPT = ["cat", "recycler", "recycled", "icon", "found.jpg", "desktop", "thumbs", "tmp", "#1.jpg"]
STAND_INS = [".cat.jpg.icloud", ".IMG 1.HEIC.icloud", ".cat.jpg.x3fQ0a"]


@pytest.mark.parametrize("name", SKIPPED)
def test_a_name_that_a_system_adds_is_skipped(name: str) -> None:
    assert is_skipped(name)


@pytest.mark.parametrize("name", STAND_INS)
def test_a_hidden_name_that_stands_for_a_photo_is_not_skipped(name: str) -> None:
    assert not is_skipped(name)


@pytest.mark.parametrize("name", KEPT)
def test_a_name_that_a_class_may_have_is_kept(name: str) -> None:
    assert not is_skipped(name)


def test_the_files_of_a_model_are_what_no_system_adds(tmp_path: Path) -> None:
    for name in ("model.pth", ".DS_Store", "Thumbs.db", "desktop.ini"):
        (tmp_path / name).touch()
    (tmp_path / "__MACOSX").mkdir()
    assert list(visible(tmp_path)) == [tmp_path / "model.pth"]
