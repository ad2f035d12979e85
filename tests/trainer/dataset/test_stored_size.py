"""The size in which photos are stored follows the network, unless the job sets it."""

import io
from pathlib import Path
from typing import Any

import pytest
from finetune_trainer.dataset.recordio import open_records, read_headers, read_image
from finetune_trainer.dataset.stage import prepare
from finetune_trainer.dataset.stored_size import stored_size
from finetune_trainer.fetch import fetch
from PIL import Image

from tests.trainer.support.datasets import Prepared, draw, make_photos, make_run


def packed_for(size: int | None, photos: Path, root: Path, **settings: Any) -> Prepared:
    """Pack the photos for a network that takes images of this size."""
    prepared = make_run(root / "work", source={"uri": photos.as_uri()}, **settings)
    fetch(prepared.run, size=size)
    prepare(prepared.run)
    return prepared


def images_of(path: Path) -> list[bytes]:
    return sorted(read_image(path, header.offset) for header in read_headers(path))


def sizes_of(prepared: Prepared) -> set[tuple[int, int]]:
    images = images_of(prepared.directory / "train.rec")
    return {Image.open(io.BytesIO(image)).size for image in images}


@pytest.mark.parametrize(
    ("network", "stored"), [(224, 256), (240, 274), (260, 297), (299, 342), (32, 37)]
)
def test_the_stored_size_is_eight_sevenths_of_the_networks(network: int, stored: int) -> None:
    assert stored_size(network) == stored


@pytest.mark.parametrize(
    ("network", "image", "stored"),
    [
        (None, {}, 256),
        (224, {}, 256),
        (240, {}, 274),
        (260, {"jpegQuality": 80}, 297),
        (240, {"resizeShort": 300}, 300),
        (224, {"framing": "Crop", "resizeShort": 240}, 240),
    ],
)
def test_photos_are_stored_as_the_job_says_else_as_the_network_needs_them(
    network: int | None, image: dict[str, Any], stored: int, tmp_path: Path
) -> None:
    photos = make_photos(tmp_path / "photos", {"cat": 3, "dog": 3})
    prepared = packed_for(network, photos, tmp_path, image=image)
    assert prepared.packed.resize_short == prepared.lock.settings.resize_short == stored
    assert {min(size) for size in sizes_of(prepared)} == {stored}


def write_records(folder: Path, sizes: list[tuple[int, int]]) -> Path:
    """Write train.rec and val.rec, with a picture of each size for each of two classes."""
    folder.mkdir()
    for name in ("train", "val"):
        with open_records(folder / name) as records:
            for number, size in enumerate(sizes * 2):
                content = io.BytesIO()
                draw(number + 50 * len(name), size=size).save(content, "JPEG")
                records.write(label=number % 2, image=content.getvalue())
    return folder


@pytest.mark.parametrize(
    ("network", "side", "stored"),
    [
        pytest.param(240, 256, 256, id="im2rec --resize 256, for a larger network"),
        pytest.param(224, 224, 224, id="as large as the network"),
        pytest.param(260, 297, 297, id="packed for the same network"),
        pytest.param(None, 256, 256, id="no network"),
        pytest.param(260, 256, 297, id="too small"),
        pytest.param(224, 480, 256, id="much larger, of which a crop would show a quarter"),
        pytest.param(32, 32, 32, id="CIFAR-10"),
    ],
)
def test_records_of_one_size_that_suffices_stay_byte_for_byte(
    network: int | None, side: int, stored: int, tmp_path: Path
) -> None:
    records = write_records(tmp_path / "records", [(side, side + 20), (side + 40, side)] * 3)
    prepared = packed_for(network, records, tmp_path)
    assert prepared.packed.resize_short == stored
    kept = images_of(prepared.directory / "train.rec") == images_of(records / "train.rec")
    assert kept == (stored == side)


def test_records_of_several_sizes_are_resized(tmp_path: Path) -> None:
    records = write_records(tmp_path / "records", [(250, 400), (240, 320), (333, 500)])
    prepared = packed_for(224, records, tmp_path)
    assert prepared.packed.resize_short == 256
    assert {min(size) for size in sizes_of(prepared)} == {256}


def test_squares_that_a_job_packed_for_this_network_stay_byte_for_byte(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", {"cat": 3, "dog": 3})
    earlier = packed_for(240, photos, tmp_path).directory
    prepared = packed_for(240, earlier, tmp_path, uid="uid-2", image={"framing": "Whole"})
    assert prepared.packed.resize_short == 274
    assert images_of(prepared.directory / "train.rec") == images_of(earlier / "train.rec")


def test_a_damaged_first_record_does_not_decide(tmp_path: Path) -> None:
    records = write_records(tmp_path / "records", [(256, 300)] * 6)
    with open_records(records / "train") as train:
        train.write(label=0, image=b"no picture")
        for number in range(12):
            content = io.BytesIO()
            draw(number, size=(256, 300)).save(content, "JPEG")
            train.write(label=number % 2, image=content.getvalue())
    lenient = {"maxFraction": "0.5"}
    prepared = packed_for(240, records, tmp_path, badImages=lenient)
    assert prepared.packed.resize_short == 256
