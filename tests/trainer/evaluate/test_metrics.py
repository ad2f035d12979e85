"""The figures of an evaluation: each equals a plain recount."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from finetune_trainer.evaluate.metrics import (
    BINS,
    METRICS,
    WORST,
    Answers,
    Evaluation,
    measure,
    wilson,
)

from tests.trainer.support.recount import recount_figures

Rows = np.ndarray[Any, np.dtype[np.float32]]


def answers(images: int, classes: int, *, seed: int) -> tuple[Rows, np.ndarray[Any, Any]]:
    """Return random probabilities and labels. A third of the rows have ties; some classes have no
    image."""
    random = np.random.default_rng(seed)
    scores = random.normal(0, 2, (images, classes))
    scores[::3] = scores[::3].round()
    labels = random.integers(0, max(1, classes - 2), images)
    scores[np.arange(images), labels] += 1
    powers = np.exp(scores)
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32), labels


def measured(probabilities: Rows, labels: Any, *, batch: int = 1000) -> Evaluation:
    parts = [
        Answers.of(probabilities[start : start + batch], labels[start : start + batch])
        for start in range(0, len(labels), batch)
    ]
    return measure(
        Answers.joined(parts),
        classes=[f"class-{n}" for n in range(probabilities.shape[1])],
        paths=[f"{n}.jpg" for n in range(len(labels))],
        cross_entropy=0.0,
    )


def test_the_page_names_the_figures_of_the_status() -> None:
    page = " ".join(Path("docs/report.md").read_text().split())
    assert f"`status.trainerStatus.metrics`: {', '.join(each.name for each in METRICS)}." in page


@pytest.mark.parametrize(("images", "classes"), [(1, 2), (50, 4), (333, 7), (500, 60)])
def test_every_figure_equals_a_plain_recount(images: int, classes: int) -> None:
    probabilities, labels = answers(images, classes, seed=images)
    ours = measured(probabilities, labels)
    for name, value in recount_figures(probabilities.tolist(), labels.tolist()).items():
        assert getattr(ours, name) == pytest.approx(value, abs=1e-6), name


def test_batches_make_no_difference() -> None:
    probabilities, labels = answers(101, 8, seed=3)
    whole = measured(probabilities, labels)
    assert all(measured(probabilities, labels, batch=batch) == whole for batch in (1, 7, 32))


@pytest.mark.parametrize(("correct", "images"), [(0, 10), (1, 3), (50, 54), (10, 10)])
def test_the_interval_ends_at_shares_that_are_1_96_deviations_from_the_count(
    correct: int, images: int
) -> None:
    low, high = wilson(correct, images)
    assert 0 <= low <= correct / images <= high <= 1
    for bound in {low, high} - {0.0, 1.0}:
        deviation = math.sqrt(bound * (1 - bound) / images)
        assert abs(correct / images - bound) / deviation == pytest.approx(1.959964, abs=1e-5)


def test_a_class_without_images_or_answers_has_no_quotients() -> None:
    probabilities = np.array([[0.9, 0.1, 0.0], [0.8, 0.2, 0.0]], np.float32)
    ours = measured(probabilities, np.array([0, 1]))
    first, second, third = ours.classes
    assert (first.precision, first.recall) == (0.5, 1.0)
    assert (second.precision, second.recall, second.f1) == (None, 0.0, 0.0)
    assert (third.precision, third.recall, third.f1) == (None, None, None)
    assert ours.mean_per_class == 0.5


def test_top_five_needs_more_than_five_classes() -> None:
    assert measured(*answers(20, 5, seed=1)).top5 is None
    assert measured(*answers(20, 6, seed=1)).top5 is not None


def test_the_worst_errors_are_the_wrong_answers_with_the_highest_confidence() -> None:
    probabilities, labels = answers(400, 9, seed=5)
    ours = measured(probabilities, labels)
    assert len(ours.worst) == WORST
    confidences = [mistake.confidence for mistake in ours.worst]
    assert confidences == sorted(confidences, reverse=True)
    for mistake in ours.worst:
        row = probabilities[mistake.record]
        assert mistake.path == f"{mistake.record}.jpg"
        assert mistake.predicted == f"class-{row.argmax()}" != mistake.label
        assert mistake.right == pytest.approx(row[labels[mistake.record]], abs=1e-6)


def test_a_network_whose_confidence_equals_its_accuracy_has_no_calibration_error() -> None:
    # 3 of 4 are correct at 75 %, 1 of 2 at 50 %.
    probabilities = np.array([[0.75, 0.25]] * 4 + [[0.5, 0.5]] * 2, np.float32)
    ours = measured(probabilities, np.array([0, 0, 0, 1, 0, 1]))
    assert ours.calibration_error == pytest.approx(0.0, abs=1e-7)
    assert sum(each.images for each in ours.calibration) == 6
    assert all(math.isclose(each.high - each.low, 1 / BINS) for each in ours.calibration)


def test_caltechs_clutter_class_is_noted_with_the_mean_without_it() -> None:
    probabilities = np.array([[0.9, 0.1, 0], [0.2, 0.8, 0], [0.6, 0.3, 0.1]], np.float32)
    evaluation = measure(
        Answers.of(probabilities, np.array([0, 1, 2])),
        classes=["001.ak47", "002.flag", "257.clutter"],
        paths=["a", "b", "c"],
        cross_entropy=0.0,
    )
    (note,) = evaluation.notes
    assert "257.clutter" in note
    assert "the mean of the other 2 classes is 1.0000" in note
    assert measured(probabilities, np.array([0, 1, 2])).notes == ()
