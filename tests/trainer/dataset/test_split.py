import hashlib
import random

import pytest
from finetune_trainer.contract import ExitCode, GroupBy, Split, TrainerError
from finetune_trainer.dataset.split import (
    Candidate,
    check_class_sizes,
    check_split,
    train_count,
    training_photos,
)
from hypothesis import given
from hypothesis import strategies as st

fractions = st.integers(1, 99).map(lambda percent: f"0.{percent:02}")


def photos(count: int, *, copies: int = 1) -> list[Candidate]:
    """Return photos; each `copies` of them are the same picture."""
    digests = [hashlib.sha256(f"{n}".encode()) for n in range(count)]
    return [Candidate(n, digests[n].hexdigest(), n // copies) for n in range(count)]


@given(st.integers(2, 500), fractions)
def test_a_fraction_leaves_at_least_one_image_for_each_split(images: int, fraction: str) -> None:
    count = train_count(images, Split(train_fraction=fraction))
    assert 1 <= count < images
    assert abs(count - images * float(fraction)) <= 1


def test_a_single_image_trains() -> None:
    assert train_count(1, Split()) == 1


def test_four_of_five_train_by_default() -> None:
    assert train_count(100, Split()) == 80


@given(st.integers(1, 60), st.randoms(use_true_random=False))
def test_the_order_in_which_photos_are_found_does_not_matter(
    per_class: int, shuffler: random.Random
) -> None:
    found = photos(61)
    expected = training_photos(found, Split(train_per_class=per_class))
    shuffler.shuffle(found)
    assert training_photos(found, Split(train_per_class=per_class)) == expected
    assert len(expected) == per_class


def test_another_seed_gives_another_split_of_the_same_size() -> None:
    first = training_photos(photos(50), Split(seed=1))
    second = training_photos(photos(50), Split(seed=2))
    assert first != second
    assert len(first) == len(second) == 40


def test_a_photo_more_moves_none_of_the_others_but_one_across() -> None:
    before = training_photos(photos(50), Split(train_per_class=30))
    after = training_photos(photos(51), Split(train_per_class=30))
    assert len(before ^ after) <= 2


@given(st.integers(2, 60), st.integers(1, 7), fractions, st.integers(0, 9))
def test_copies_of_a_picture_are_never_in_both_splits(
    count: int, copies: int, fraction: str, seed: int
) -> None:
    found = photos(count, copies=copies)
    training = training_photos(found, Split(train_fraction=fraction, seed=seed))
    found_in = {(photo.group, photo.key in training) for photo in found}
    assert len(found_in) == len({photo.group for photo in found})
    assert training


def test_train_per_class_is_met_to_the_photo_where_single_photos_fill_up() -> None:
    found = photos(40, copies=4) + [
        Candidate(n + 40, photo.sha256, photo.group + 40) for n, photo in enumerate(photos(8))
    ]
    for seed in range(20):
        assert len(training_photos(found, Split(train_per_class=31, seed=seed))) == 31


@pytest.mark.parametrize("fraction", ["0", "1", "1.5"])
def test_a_fraction_that_leaves_nothing_is_refused(fraction: str) -> None:
    with pytest.raises(TrainerError, match="trainFraction") as caught:
        check_split(Split(train_fraction=fraction), has_validation_source=False)
    assert caught.value.code == ExitCode.InvalidSpec


@pytest.mark.parametrize(
    ("split", "validated", "named"),
    [
        (Split(train_per_class=5, train_fraction="0.5"), False, "both"),
        (Split(group_by=GroupBy()), False, "exactly one of column and pattern"),
        (Split(group_by=GroupBy(column="a", pattern="b")), True, "exactly one of column and"),
        (Split(train_per_class=5), True, "validationSource"),
        (Split(train_fraction="0.5"), True, "validationSource"),
    ],
)
def test_settings_that_exclude_each_other_are_refused(
    split: Split, validated: bool, named: str
) -> None:
    with pytest.raises(TrainerError, match=named):
        check_split(split, has_validation_source=validated)


def test_classes_too_small_for_the_split_are_named_with_the_largest_number_that_works() -> None:
    with pytest.raises(TrainerError, match=r"needs 61 readable photos .* in dog \(60\)") as caught:
        check_class_sizes({"cat": 61, "dog": 60}, Split(train_per_class=60), reasons={})
    assert caught.value.code == ExitCode.InvalidData
    assert "at most 59" in caught.value.hint
    check_class_sizes({"cat": 61, "dog": 61}, Split(train_per_class=60), reasons={})


def test_a_class_without_a_readable_photo_is_named() -> None:
    with pytest.raises(TrainerError, match=r"No photo that can be used .*: dog \(0\)"):
        check_class_sizes({"cat": 5, "dog": 0}, Split(), reasons={})
