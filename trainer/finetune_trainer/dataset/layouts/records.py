"""The layout RecordIO: photos packed by im2rec or by this trainer. Reads headers, no images."""

from pathlib import Path

from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.dataset.layouts import splits
from finetune_trainer.dataset.layouts.classes import name_of, read_classes
from finetune_trainer.dataset.layouts.found import Found, Photo, Scan
from finetune_trainer.dataset.layouts.source import Source
from finetune_trainer.dataset.recordio import RecordError, RecordHeader, read_headers, read_offsets


def has_records(source: Source) -> bool:
    """Return True if there is a .rec file."""
    return bool(splits.files_with(source.tree, ".rec"))


def scan_records(source: Source) -> Found:
    """List the records of the one file, or of the files of the two splits."""
    root = source.tree.root
    chosen = splits.choose(splits.files_with(source.tree, ".rec"), layout="RecordIO")
    files = {split: root / file for split, file in chosen.files.items()}
    headers = {split: _headers(path) for split, path in files.items()}
    names = read_classes(root)
    if names is None:
        most = max((header.label for found in headers.values() for header in found), default=-1)
        names = tuple(str(label) for label in range(int(most) + 1))
    scans = {
        split: Scan(root, tuple(_photos(path, headers[split], names)), names)
        for split, path in files.items()
    }
    described = "the records " + " and ".join(chosen.files.values())
    indexes = tuple(path.with_suffix(".idx").name for path in files.values())
    read = (*chosen.files.values(), *indexes)
    return Found("RecordIO", scans, described, passed_over=chosen.passed_over, read=read)


def _photos(path: Path, headers: list[RecordHeader], names: tuple[str, ...]) -> list[Photo]:
    mtime = path.stat().st_mtime_ns
    return [
        Photo(
            f"{path.name}#{number}",
            name_of(int(header.label), names, where=f"{path.name}, record {number}"),
            header.size,
            mtime,
            header.offset,
        )
        for number, header in enumerate(headers)
    ]


def _headers(path: Path) -> list[RecordHeader]:
    try:
        headers = list(read_headers(path))
    except RecordError as error:
        raise _bad(f"{path.name} {error}", "Copy it again, or pack the records again.") from error
    for number, header in enumerate(headers):
        _check_label(header, where=f"{path.name}, record {number}")
    _check_index(path.with_suffix(".idx"), {header.offset for header in headers})
    return headers


def _check_label(header: RecordHeader, *, where: str) -> None:
    remedy = "Pack the records again, with one whole label from 0 in each."
    if header.labels > 1:
        raise _bad(f"{where} has {header.labels} labels; a classifier needs one", remedy)
    if not 0 <= header.label < 1e6 or header.label != int(header.label):
        raise _bad(f"{where} has the label {header.label:g}", remedy)


def _check_index(index: Path, offsets: set[int]) -> None:
    """Raise InvalidData if the index does not fit: one of the two files may be the wrong one."""
    if not index.exists():
        return
    remedy = f"Put its own .idx beside the .rec, or delete {index.name}: it is not needed."
    try:
        indexed = read_offsets(index)
    except (ValueError, IndexError) as error:
        raise _bad(f"{index.name} is not lines of NUMBER, tab, OFFSET", remedy) from error
    if set(indexed) != offsets or len(indexed) != len(offsets):
        raise _bad(f"{index.name} does not fit its .rec file: it is of another one", remedy)


def _bad(message: str, remedy: str) -> TrainerError:
    return TrainerError(ExitCode.InvalidData, message, remedy)
