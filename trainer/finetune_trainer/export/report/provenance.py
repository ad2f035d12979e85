"""The report's sections about the model's origin: the data set, and lists of names and values."""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence

from finetune_trainer.contract import DatasetStatus
from finetune_trainer.dataset.lock import LockHeader, Tally
from finetune_trainer.export.report.markup import Markup, facts, section, table, tag

SHOWN = 12
"""Most rows of a table of examples."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Facts:
    """A section of names and values, such as the environment."""

    title: str
    rows: list[tuple[str, str]]
    text: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataSet:
    """The data set of the fit, as the report shows it."""

    lock: LockHeader
    """The lock without its list of files."""
    tally: Tally
    """Counts over the lock's files."""

    @property
    def status(self) -> DatasetStatus:
        """The counts, without the digest."""
        return self.tally.status(self.lock, "")


def data(given: DataSet | None) -> Markup:
    """Show how many photos were used and rejected; nothing if `given` is None."""
    if given is None:
        return Markup()
    status = given.status
    parts = (
        ("training", status.train_images, "first"),
        ("validation", status.validation_images, "second"),
        ("rejected", status.rejected_images, "third"),
    )
    bar = tag(
        "div",
        *(tag("i", style=f"flex-grow:{n}", class_=kind) for _, n, kind in parts if n),
        class_="stack",
    )
    counts = (
        tag("span", tag("b", f"{number}"), f" {name}", class_=kind) for name, number, kind in parts
    )
    text = (
        f"{status.classes} classes. Found: {status.duplicate_images} copies (all copies of a photo "
        f"are in one split), {status.near_duplicates} pairs that look alike, "
        f"{status.label_conflicts} photos that are in two classes, {status.other_files} files that"
        " are no images."
    )
    used = tag("p", f"Layout {given.lock.settings.layout}: {given.lock.described}.")
    unused = (f"Not used: {each}." for each in given.lock.passed_over)
    notes = (tag("p", note, class_="note") for note in (*unused, *given.lock.warnings))
    legend = tag("p", *counts, class_="legend")
    return section("Data", bar, legend, used, *notes, *_details(given), text=text)


def _details(given: DataSet) -> Iterator[Markup]:
    lock, rejected = given.lock, given.tally.rejected
    reasons = Counter(file.reason for file in rejected)
    examples = {file.reason: file.path for file in reversed(rejected)}
    yield from _examples(
        "Rejected",
        ("images", "reason", "such as"),
        [(str(count), reason, examples[reason]) for reason, count in reasons.most_common()],
        len(reasons),
    )
    yield from _examples(
        "Looking alike",
        ("one", "other"),
        [(pair.one, pair.other) for pair in lock.near_duplicates],
        lock.near_duplicate_count,
    )


def _examples(
    title: str, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]], total: int
) -> Iterator[Markup]:
    if rows:
        yield tag("h3", title)
        yield table(columns, rows[:SHOWN], class_="paths")
    if total > SHOWN:
        yield tag("p", f"and {total - SHOWN} more, in dataset.lock.json", class_="more")


def facts_section(given: Facts) -> Markup:
    """Show names and values."""
    return section(given.title, facts(given.rows), text=given.text, class_="facts")
