import random
import time
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from finetune_trainer.contract import ExitCode, GroupBy, Split, TrainerError
from finetune_trainer.dataset.groups import Groups
from finetune_trainer.dataset.layouts.found import Photo
from finetune_trainer.dataset.split import Candidate, training_photos
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainer.support.datasets import Prepared, draw, prepare_photos

BY_PATIENT = {"groupBy": {"pattern": "(p[0-9]+)_"}}


def make_patients(root: Path, patients: dict[str, dict[str, int]]) -> Path:
    """Write CLASS/PATIENT_N.jpg, as many for each class and patient as given."""
    seed = 0
    for name, counts in patients.items():
        (root / name).mkdir(parents=True)
        for patient, count in counts.items():
            for number in range(count):
                seed += 1
                draw(seed).save(root / name / f"{patient}_{number}.jpg", quality=95)
    return root


def splits_of(prepared: Prepared) -> dict[str, set[str]]:
    """Return the splits of each patient."""
    found: dict[str, set[str]] = defaultdict(set)
    for file in prepared.lock.files:
        if file.split:
            found[file.path.split("/")[1].split("_")[0]].add(file.split)
    return found


def candidates(groups: list[dict[int, int]]) -> list[Candidate]:
    """Return the photos of groups, given as the number of photos by class."""
    source = random.Random(0)
    photos: list[Candidate] = []
    for group, counts in enumerate(groups):
        for label, count in counts.items():
            for _ in range(count):
                sha256 = source.randbytes(32).hex()
                photos.append(Candidate(len(photos), sha256, group, label))
    return photos


def trained(photos: list[Candidate], chosen: set[int]) -> list[int]:
    counts = Counter(photo.label for photo in photos if photo.key in chosen)
    return [counts[label] for label in sorted({photo.label for photo in photos})]


@pytest.mark.parametrize("seed", range(3))
def test_photos_of_a_group_are_in_one_split(tmp_path: Path, seed: int) -> None:
    patients = {f"p{n}": 4 for n in range(5)}
    photos = make_patients(tmp_path / "photos", {"ill": patients, "well": patients})
    prepared = prepare_photos(tmp_path, photos, split={"seed": seed, **BY_PATIENT})
    assert Counter(map(str, splits_of(prepared).values())) == {"{'train'}": 4, "{'validation'}": 1}
    assert prepared.lock.warnings == ()


def test_without_groups_photos_of_a_patient_are_in_both(tmp_path: Path) -> None:
    patients = {f"p{n}": 4 for n in range(5)}
    photos = make_patients(tmp_path / "photos", {"ill": patients, "well": patients})
    assert any(len(found) > 1 for found in splits_of(prepare_photos(tmp_path, photos)).values())


def test_another_pattern_is_another_data_set(tmp_path: Path) -> None:
    patients = {f"p{n}": 4 for n in range(5)}
    photos = make_patients(tmp_path / "photos", {"ill": patients, "well": patients})
    digests = {
        prepare_photos(tmp_path, photos, split={"groupBy": {"pattern": pattern}}).status.digest
        for pattern in ("(p[0-9]+)_", "p[0-9]", "[0-9][.]jpg")
    }
    assert len(digests) == 3


def test_photos_without_a_group_are_counted_in_a_warning(tmp_path: Path) -> None:
    patients = {"p1": 4, "p2": 4, "x": 2}
    photos = make_patients(tmp_path / "photos", {"ill": patients, "well": patients})
    (warning,) = prepare_photos(tmp_path, photos, split=BY_PATIENT).lock.warnings[-1:]
    assert warning.startswith("4 photos have no group by dataset.split.groupBy")
    assert "ill/x_0.jpg" in warning


def test_a_pattern_that_matches_nothing_is_refused_with_an_example(tmp_path: Path) -> None:
    photos = make_patients(tmp_path / "photos", {"ill": {"q1": 4}, "well": {"q2": 4}})
    with pytest.raises(
        TrainerError, match=r"\(p\[0-9\]\+\)_ matches none .*, such as ill/q1_0"
    ) as caught:
        prepare_photos(tmp_path, photos, split=BY_PATIENT)
    assert caught.value.code == ExitCode.InvalidData


def test_a_class_whose_photos_are_all_in_one_group_trains_with_a_warning(tmp_path: Path) -> None:
    several = {f"p{n}": 4 for n in range(1, 5)}
    photos = make_patients(tmp_path / "photos", {"ill": {"p0": 12}, "well": several})
    prepared = prepare_photos(tmp_path, photos, split=BY_PATIENT)
    assert splits_of(prepared)["p0"] == {"train"}
    assert prepared.lock.warnings[0].startswith(
        "no photo validates these classes: ill (all are in one group of dataset.split.groupBy"
    )


def test_one_group_with_all_photos_is_refused(tmp_path: Path) -> None:
    photos = make_patients(tmp_path / "photos", {"ill": {"p0": 6}, "well": {"p0": 6}})
    with pytest.raises(
        TrainerError, match=r"No photo is left .* by dataset\.split\.groupBy"
    ) as caught:
        prepare_photos(tmp_path, photos, split=BY_PATIENT)
    assert caught.value.code == ExitCode.InvalidData


def test_a_group_in_both_given_splits_is_named(tmp_path: Path) -> None:
    photos = make_patients(tmp_path / "photos/train", {"ill": {"p1": 5}, "well": {"p2": 5}})
    for name, patient in (("ill", "p1"), ("well", "p3")):
        (tmp_path / "photos/val" / name).mkdir(parents=True)
        for number in range(3):
            picture = draw(hash(name) % 1000 + number + 500)
            picture.save(tmp_path / "photos/val" / name / f"{patient}_{number}.jpg")
    prepared = prepare_photos(tmp_path, photos.parent, split=BY_PATIENT)
    assert prepared.lock.warnings[-1].startswith(
        "1 groups of dataset.split.groupBy have photos in both"
    )
    assert ": p1;" in prepared.lock.warnings[-1]


def test_a_column_without_a_list_is_refused(tmp_path: Path) -> None:
    photos = make_patients(tmp_path / "photos", {"ill": {"p0": 6}, "well": {"p1": 6}})
    with pytest.raises(TrainerError, match=r"only a list .* has columns") as caught:
        prepare_photos(tmp_path, photos, split={"groupBy": {"column": "patient"}})
    assert caught.value.code == ExitCode.InvalidSpec


def photo(path: str, *, group: str = "") -> Photo:
    return Photo(path=path, class_name="cat", size=1, mtime_ns=1, group=group)


def test_the_column_of_a_list_gives_the_groups() -> None:
    groups = Groups(GroupBy(column="patient"))
    groups.add([photo("1", group="a"), photo("2", group="b"), photo("3", group=" a "), photo("4")])
    assert list(groups.of_photo) == [1, 2, 1, 0]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("[^/]+_", [1, 1, 2]),
        ("/(.).*_(.)", [1, 1, 2]),
        ("(a)?", [1, 1, 0]),
        ("(?:a|b)([0-9])", [1, 1, 1]),
    ],
)
def test_the_first_parentheses_or_the_whole_match_are_the_group(
    pattern: str, expected: list[int]
) -> None:
    groups = Groups(GroupBy(pattern=pattern))
    groups.add(map(photo, ["a1_1.jpg", "a1_2.jpg", "b1_1.jpg"]))
    if pattern.startswith("/"):
        expected = [0, 0, 0]
    assert list(groups.of_photo) == expected


@pytest.mark.parametrize("pattern", ["(", "[a", "*", "(?P<x", "a{9999999999999}"])
def test_a_pattern_that_is_no_regular_expression_is_refused(pattern: str) -> None:
    with pytest.raises(TrainerError, match="is not a regular expression") as caught:
        Groups(GroupBy(pattern=pattern))
    assert caught.value.code == ExitCode.InvalidSpec


def test_a_pattern_that_would_never_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("finetune_trainer.dataset.groups.SECONDS", 0.2)
    started = time.process_time()
    with pytest.raises(TrainerError, match="takes more than") as caught:
        Groups(GroupBy(pattern="^(([a-z])+.)+[A-Z]([a-z])+$")).add([photo("a" * 60)])
    assert caught.value.code == ExitCode.InvalidSpec
    assert time.process_time() - started < 5


@settings(deadline=None)
@given(
    st.lists(
        st.dictionaries(st.integers(0, 3), st.integers(1, 9), min_size=1), min_size=1, max_size=30
    ),
    st.integers(0, 5),
)
def test_no_group_is_divided_and_each_class_trains(groups: list[dict[int, int]], seed: int) -> None:
    photos = candidates(groups)
    chosen = training_photos(photos, Split(seed=seed), joined=True)
    sides = defaultdict(set)
    for one in photos:
        sides[one.group].add(one.key in chosen)
    assert all(len(found) == 1 for found in sides.values())
    assert all(trained(photos, chosen))


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ([{0: 60}, {0: 40}], [[60]]),
        ([{0: 90}, {0: 10}], [[90]]),
        ([{0: 20}] * 5, [[80]]),
        ([{0: 33}] * 3, [[66]]),
        ([{0: 10, 1: 10}] * 10, [[80, 80]]),
        ([{0: 18}, {1: 18}, {0: 1, 1: 1}, {0: 1, 1: 1}], [[18, 18], [19, 19]]),
        ([{0: 50, 1: 5}, {0: 5, 1: 50}, {0: 45}, {1: 45}], [[95, 50], [50, 95], [95, 95]]),
    ],
)
def test_classes_come_as_near_to_the_fraction_as_their_groups_allow(
    groups: list[dict[int, int]], expected: list[list[int]]
) -> None:
    for seed in range(5):
        photos = candidates(groups)
        chosen = training_photos(photos, Split(seed=seed), joined=True)
        assert trained(photos, chosen) in expected


def test_another_seed_gives_another_split_of_groups() -> None:
    photos = candidates([{0: 5}] * 20)
    chosen = [training_photos(photos, Split(seed=seed), joined=True) for seed in (1, 2)]
    assert chosen[0] != chosen[1]
    assert len(chosen[0]) == len(chosen[1]) == 80


def test_many_groups_are_split_in_seconds() -> None:
    photos = candidates([{n % 50: 3, (n + 1) % 50: 2} for n in range(20_000)])
    started = time.process_time()
    chosen = training_photos(photos, Split(), joined=True)
    assert time.process_time() - started < 15
    counts = trained(photos, chosen)
    assert 1560 <= min(counts) <= max(counts) <= 1640
