import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from finetune_trainer.dataset.duplicates import (
    SIDE,
    Array,
    look_alikes,
    miniature,
    near_hashes,
    perceptual_hashes,
    unite,
)
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

from tests.trainer.support.datasets import draw, make_photos, prepare_photos

SIZE = (384, 256)
Edit = Callable[[Image.Image], Image.Image]
EDITS: dict[str, Edit] = {
    "brighter": lambda picture: ImageEnhance.Brightness(picture).enhance(1.1),
    "less contrast": lambda picture: ImageEnhance.Contrast(picture).enhance(0.9),
    "smaller": lambda picture: picture.resize((192, 128)),
    "grey": lambda picture: picture.convert("L").convert("RGB"),
    "mirrored": ImageOps.mirror,
    "upside down": ImageOps.flip,
    "turned by 90": lambda picture: picture.transpose(Image.Transpose.ROTATE_90),
    "turned by 180": lambda picture: picture.transpose(Image.Transpose.ROTATE_180),
    "turned by 270": lambda picture: picture.transpose(Image.Transpose.ROTATE_270),
    "cropped by a ninth": lambda picture: picture.crop((21, 14, 362, 242)),
    "cropped to a corner": lambda picture: picture.crop((0, 0, 299, 199)),
}


def small(*pictures: Image.Image) -> Array:
    return np.frombuffer(b"".join(map(miniature, pictures)), np.uint8).reshape(-1, SIDE, SIDE)


def alike(*pictures: Image.Image) -> set[tuple[int, int]]:
    found = small(*pictures)
    pairs = look_alikes(len(found), found.__getitem__)
    return {(one, other) for some in pairs for one, other, _ in some.rows()}


def hashes(*numbers: int) -> Array:
    rows = b"".join(number.to_bytes(16, "little") for number in numbers)
    return np.frombuffer(rows, np.uint16).reshape(-1, 8)


def near(found: Array) -> list[tuple[int, int, int]]:
    return [row for pairs in near_hashes(found) for row in pairs.rows()]


@given(st.integers(0, (1 << 128) - 1), st.sets(st.integers(0, 127), max_size=7))
def test_hashes_that_differ_in_up_to_seven_bits_are_always_found(one: int, bits: set[int]) -> None:
    other = one
    for bit in bits:
        other ^= 1 << bit
    assert near(hashes(one, other)) == [(0, 1, len(bits))]


def test_hashes_that_differ_in_more_bits_are_not_paired() -> None:
    assert near(hashes(0, 0xFF)) == []


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_an_edited_photo_looks_alike(edit: Edit) -> None:
    pictures = [draw(seed, size=SIZE) for seed in range(20)]
    pairs = alike(*pictures, *map(edit, pictures))
    assert all(other - one == 20 for one, other in pairs)
    assert len(pairs) >= 16


def test_a_pair_is_found_once_however_it_looks_alike() -> None:
    half = draw(0, size=(192, 256))
    picture = Image.new("RGB", SIZE)
    picture.paste(half)
    picture.paste(ImageOps.mirror(half), (192, 0))
    brighter = EDITS["brighter"](picture)
    found = small(picture, brighter)
    assert [len(pairs.one) for pairs in look_alikes(2, found.__getitem__) if len(pairs.one)] == [1]


def test_different_photos_do_not_look_alike() -> None:
    assert alike(*(draw(seed, size=SIZE) for seed in range(300))) == set()


def test_photos_whose_outlines_alone_agree_do_not_look_alike() -> None:
    def shirt(print_: str) -> Image.Image:
        picture = Image.new("RGB", (224, 224), "white")
        drawn = ImageDraw.Draw(picture)
        drawn.rectangle((20, 30, 204, 80), "navy")
        drawn.rectangle((60, 30, 164, 200), "navy")
        drawn.rectangle((90, 105, 134, 145), print_)
        return picture

    found = small(shirt("navy"), shirt("white"))
    assert len(near(perceptual_hashes(found))) == 1
    assert alike(shirt("navy"), shirt("white")) == set()


def test_a_picture_without_contrast_has_no_miniature() -> None:
    assert miniature(Image.new("RGB", SIZE, "white")) == b""


def test_fifty_thousand_photos_are_compared_in_seconds() -> None:
    found = np.random.default_rng(0).integers(0, 1 << 16, (50_000, 8), dtype=np.uint16)
    # A third have a band in common, as pictures on a white ground do.
    found[::3, 0] = 0
    started = time.process_time()
    assert len(near(found)) < 10
    assert time.process_time() - started < 10


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=40))
def test_all_that_pairs_connect_has_one_root(pairs: list[tuple[int, int]]) -> None:
    roots = np.arange(31)
    for one, other in pairs:
        unite(roots, np.array([one]), np.array([other]))
    at_once = np.arange(31)
    unite(at_once, *np.array(pairs, int).reshape(-1, 2).T)
    assert roots.tolist() == at_once.tolist()
    assert all(roots[one] == roots[other] for one, other in pairs)
    assert (roots[roots] == roots).all()


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


@pytest.mark.parametrize("seed", range(4))
def test_photos_that_look_alike_stay_in_one_split_unless_that_is_switched_off(
    tmp_path: Path, seed: int
) -> None:
    photos = make_photos(tmp_path / "photos", {"cat": 12, "dog": 12})
    for number in range(8):
        picture = Image.open(photos / f"cat/{number}.jpg")
        ImageOps.mirror(picture).save(photos / f"cat/{number}-mirrored.jpg", quality=95)

    def divided(settings: dict[str, object]) -> tuple[int, list[str]]:
        prepared = prepare_photos(tmp_path, photos, split={"seed": seed} | settings)
        splits = [
            {prepared.file(f"cat/{n}{rest}.jpg").split for rest in ("", "-mirrored")}
            for n in range(8)
        ]
        return sum(len(found) > 1 for found in splits), list(prepared.lock.warnings)

    assert divided({}) == (0, [])
    count, warnings = divided({"nearDuplicates": "Split"})
    assert count
    assert warnings[0].startswith(f"{count} pairs of photos in different splits look alike")
    assert "set dataset.split.nearDuplicates to Together" in warnings[0]


def test_the_remedy_for_photos_that_look_alike_fits_a_split_that_is_given(tmp_path: Path) -> None:
    train = make_photos(tmp_path / "train", {"cat": 5, "dog": 5})
    validation = make_photos(tmp_path / "validation", {"cat": 2, "dog": 2}, seed=500)
    ImageOps.mirror(Image.open(train / "cat/0.jpg")).save(validation / "cat/again.jpg", quality=95)
    prepared = prepare_photos(tmp_path, train, validationSource={"uri": f"file://{validation}"})
    (warning,) = [found for found in prepared.lock.warnings if "look alike" in found]
    assert "cat/0.jpg ~ cat/again.jpg" in warning
    assert "remove one of each from the validation split" in warning
