"""The figures of an evaluation, counted again in plain Python."""

from collections import Counter
from typing import Any

BINS = 15


def recount_figures(rows: list[list[float]], labels: list[int]) -> dict[str, Any]:
    """Return figures by the names of their fields in Evaluation."""
    # Sorting is stable: of equally probable classes the first one stays first.
    orders = [sorted(range(len(row)), key=row.__getitem__, reverse=True) for row in rows]
    pairs = list(zip(labels, [order[0] for order in orders], strict=True))
    correct = [label == guess for label, guess in pairs]
    images = Counter(labels)
    recalls = [
        sum(label == guess == each for label, guess in pairs) / images[each] for each in images
    ]
    figures: dict[str, Any] = {
        "images": len(labels),
        "correct": sum(correct),
        "accuracy": sum(correct) / len(labels),
        "mean_per_class": sum(recalls) / len(recalls),
        "majority": max(images.values()) / len(labels),
        "calibration_error": _calibration_error([max(row) for row in rows], correct),
    }
    if len(rows[0]) > 5:
        in_top = [label in order[:5] for label, order in zip(labels, orders, strict=True)]
        figures["top5"] = sum(in_top) / len(labels)
    return figures


def recount_classes(rows: list[list[float]], labels: list[int]) -> dict[int, tuple[float, ...]]:
    """Return precision, recall and F1 of the classes that have all three."""
    guesses = [row.index(max(row)) for row in rows]
    found: dict[int, tuple[float, ...]] = {}
    for each in range(len(rows[0])):
        both = sum(label == guess == each for label, guess in zip(labels, guesses, strict=True))
        if both:
            precision, recall = both / guesses.count(each), both / labels.count(each)
            found[each] = (precision, recall, 2 * precision * recall / (precision + recall))
    return found


def recount_confusion(rows: list[list[float]], labels: list[int]) -> set[tuple[int, int, int]]:
    """Return (class, predicted class, images)."""
    pairs = Counter(zip(labels, (row.index(max(row)) for row in rows), strict=True))
    return {(label, guess, count) for (label, guess), count in pairs.items()}


def _calibration_error(confidences: list[float], correct: list[bool]) -> float:
    total = 0.0
    for number in range(BINS):
        low, high = number / BINS, (number + 1) / BINS
        inside = [n for n, c in enumerate(confidences) if low < c <= high]
        if inside:
            confidence = sum(confidences[n] for n in inside) / len(inside)
            accuracy = sum(correct[n] for n in inside) / len(inside)
            total += len(inside) * abs(confidence - accuracy)
    return total / len(correct)
