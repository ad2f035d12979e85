"""The contact sheet: one HTML file with thumbnails of each class and a list of rejected files.

Self-contained, so that it can be mailed; no file name can run as code.
"""

import html
from collections.abc import Iterator, Sequence
from pathlib import Path

from finetune_trainer.dataset.compose import training_order, validation_order
from finetune_trainer.dataset.lock import File, Lock
from finetune_trainer.dataset.recordio import read_offsets
from finetune_trainer.dataset.thumbnail import data_uri
from finetune_trainer.run.files import whole_file

PER_CLASS, MOST_ROWS = 24, 500
STYLE = """body{font:14px sans-serif;margin:2em}figure{display:inline-block;margin:4px;width:96px;
vertical-align:top;font-size:10px;overflow-wrap:anywhere}figcaption{color:#555}
.validation img{outline:3px solid #38c}td{padding:2px 1em 2px 0}"""

Thumbnail = tuple[File, Path, int]
"""A photo, its record file and the offset there."""


def write_sheet(path: Path, lock: Lock, directory: Path) -> None:
    """Write the contact sheet of a packed data set, piece by piece."""
    by_class: list[list[Thumbnail]] = [[] for _ in lock.classes]
    for name, numbers in (("train", training_order(lock)), ("val", validation_order(lock))):
        record, offsets = directory / f"{name}.rec", read_offsets(directory / f"{name}.idx")
        for number, offset in zip(numbers, offsets, strict=True):
            file = lock.files[number]
            by_class[file.label or 0].append((file, record, offset))
    with whole_file(path) as sheet:
        sheet.writelines(part.encode() + b"\n" for part in _parts(lock, by_class))


def _parts(lock: Lock, by_class: list[list[Thumbnail]]) -> Iterator[str]:
    yield f'<!doctype html><meta charset="utf-8"><title>Data set</title><style>{STYLE}</style>'
    yield "<h1>Data set</h1><p>Blue frame: a validation image.</p>"
    yield from (f"<p>{html.escape(warning)}</p>" for warning in lock.warnings)
    for name, members in zip(lock.classes, by_class, strict=True):
        yield f"<h2>{html.escape(name)} ({len(members)})</h2>"
        members.sort(key=lambda photo: photo[0].path)
        yield from map(_figure, members[:: max(1, len(members) // PER_CLASS)][:PER_CLASS])
    rejected = [(file.path, file.reason) for file in lock.rejected()]
    yield from _table("Rejected", rejected)
    copies = [(f.path, f.same_as) for f in lock.files if f.same_as and f.fate == "packed"]
    yield from _table("Copies", copies)
    yield from _table("Look alike", [(pair.one, pair.other) for pair in lock.near_duplicates])


def _figure(photo: Thumbnail) -> str:
    file, record, offset = photo
    caption = html.escape(", ".join(filter(None, (file.path, file.note))))
    return (
        f'<figure class="{file.split}"><img alt="" src="{data_uri(record, offset)}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _table(title: str, rows: Sequence[tuple[str, str]]) -> Iterator[str]:
    if rows:
        yield f"<h2>{title} ({len(rows)})</h2><table>"
        for row in rows[:MOST_ROWS]:
            yield "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row)
        yield "</table>"
        if len(rows) > MOST_ROWS:
            yield f"<p>and {len(rows) - MOST_ROWS} more, in dataset.lock.json</p>"
