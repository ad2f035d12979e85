import random
import shutil
import time
from pathlib import Path

import pytest
from finetune_trainer.dataset.duplicates import near_duplicates, perceptual_hash
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from tests.trainer.support.datasets import draw, make_photos, prepare_photos

SIZE = (384, 256)


def hash_of(picture: Image.Image) -> int:
    found = perceptual_hash(picture)
    assert found is not None
    return found


@given(st.integers(0, (1 << 128) - 1), st.sets(st.integers(0, 127), max_size=7))
def test_hashes_that_differ_in_up_to_seven_bits_are_always_found(one: int, bits: set[int]) -> None:
    other = one
    for bit in bits:
        other ^= 1 << bit
    assert list(near_duplicates([(0, one), (1, other)])) == [(0, 1, len(bits))]


def test_hashes_that_differ_in_more_bits_are_not_paired() -> None:
    assert list(near_duplicates([(0, 0), (1, 0xFF)])) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda picture: ImageEnhance.Brightness(picture).enhance(1.1),
        lambda picture: ImageEnhance.Contrast(picture).enhance(0.9),
        lambda picture: picture.resize((192, 128)).resize(SIZE),
        lambda picture: picture.crop((1, 1, 383, 255)).resize(SIZE),
    ],
    ids=["brighter", "less contrast", "smaller", "cropped"],
)
def test_an_edited_photo_looks_alike(change: object) -> None:
    for seed in range(20):
        picture = draw(seed, size=SIZE)
        assert callable(change)
        assert (hash_of(picture) ^ hash_of(change(picture))).bit_count() <= 7


def test_different_photos_do_not_look_alike() -> None:
    hashes = [(seed, hash_of(draw(seed, size=SIZE))) for seed in range(300)]
    assert list(near_duplicates(hashes)) == []


def test_a_picture_without_contrast_has_no_hash() -> None:
    assert perceptual_hash(Image.new("RGB", SIZE, "white")) is None


def test_fifty_thousand_photos_are_compared_in_seconds() -> None:
    source = random.Random(0)
    # A third have a band in common, as pictures on a white ground do.
    hashes = [(n, source.getrandbits(128) & ~(0xFFFF if n % 3 == 0 else 0)) for n in range(50_000)]
    started = time.process_time()
    assert len(list(near_duplicates(hashes))) < 10
    assert time.process_time() - started < 10


def test_copies_of_a_photo_stay_in_one_split_whatever_their_format(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", {"cat": 12, "dog": 12})
    for number in range(8):
        shutil.copyfile(photos / f"cat/{number}.jpg", photos / f"cat/{number}-copy.jpg")
        Image.open(photos / f"cat/{number}.jpg").save(photos / f"cat/{number}-again.png")
    prepared = prepare_photos(tmp_path, photos)
    assert prepared.status.duplicate_images == 16
    for number in range(8):
        splits = {
            prepared.file(f"cat/{number}{rest}").split
            for rest in (".jpg", "-copy.jpg", "-again.png")
        }
        assert len(splits) == 1
    assert prepared.file("cat/3.jpg").same_as == "cat/3-again.png"


def test_a_picture_in_two_classes_is_left_out_and_named(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", {"cat": 6, "dog": 6})
    shutil.copyfile(photos / "cat/0.jpg", photos / "dog/odd.jpg")
    prepared = prepare_photos(tmp_path, photos, badImages={"policy": "Fail"})
    assert prepared.status.label_conflicts == 2
    assert prepared.status.train_images + prepared.status.validation_images == 11
    reason = "the same picture as dog/odd.jpg, which is in another class"
    assert prepared.file("cat/0.jpg").reason == reason
    assert any("cat/0.jpg = dog/odd.jpg" in warning for warning in prepared.lock.warnings)


def test_photos_that_look_alike_are_listed(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", {"cat": 6, "dog": 6})
    picture = Image.open(photos / "cat/0.jpg")
    ImageEnhance.Brightness(picture).enhance(1.05).save(photos / "cat/brighter.jpg", quality=95)
    prepared = prepare_photos(tmp_path, photos)
    assert [(pair.one, pair.other) for pair in prepared.lock.near_duplicates] == [
        ("cat/0.jpg", "cat/brighter.jpg")
    ]
    assert prepared.status.near_duplicates == 1
