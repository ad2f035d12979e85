"""The layout RecordIO: photos that im2rec or this trainer has packed. Reads headers, no image."""

from pathlib import Path

from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.dataset.layouts.classes import name_of, read_classes
from finetune_trainer.dataset.layouts.found import Found, Photo, Scan
from finetune_trainer.dataset.layouts.sides import sides_of
from finetune_trainer.dataset.recordio import RecordError, RecordHeader, read_headers, read_offsets


def scan_records(root: Path) -> Found:
    """List the records of the file, or of those named as train and val."""
    files = sides_of(root, ".rec", layout="RecordIO")
    heads = {part: _heads(path) for part, path in files.items()}
    names = read_classes(root)
    if names is None:
        most = max((head.label for side in heads.values() for head in side), default=-1)
        names = tuple(str(label) for label in range(int(most) + 1))
    sides = {
        part: Scan(root, tuple(_photos(path, heads[part], names)), names)
        for part, path in files.items()
    }
    return Found("RecordIO", sides, "the records " + " and ".join(p.name for p in files.values()))


def _photos(path: Path, heads: list[RecordHeader], names: tuple[str, ...]) -> list[Photo]:
    mtime = path.stat().st_mtime_ns
    return [
        Photo(
            f"{path.name}#{number}",
            name_of(int(head.label), names, where=f"{path.name}, record {number}"),
            head.size,
            mtime,
            head.offset,
        )
        for number, head in enumerate(heads)
    ]


def _heads(path: Path) -> list[RecordHeader]:
    try:
        heads = list(read_headers(path))
    except RecordError as error:
        raise _bad(f"{path.name} {error}") from error
    for number, head in enumerate(heads):
        if head.labels > 1:
            raise _bad(f"{path.name}, record {number} has {head.labels} labels; one is needed")
        if not 0 <= head.label < 1e6 or head.label != int(head.label):
            raise _bad(f"{path.name}, record {number} has the label {head.label:g}")
    _check_index(path.with_suffix(".idx"), {head.offset for head in heads})
    return heads


def _check_index(index: Path, offsets: set[int]) -> None:
    """Compare an index, if there is one: one of another file would be found out only in MXNet."""
    if not index.exists():
        return
    try:
        indexed = read_offsets(index)
    except (ValueError, IndexError) as error:
        raise _bad(f"{index.name} is not lines of NUMBER and OFFSET") from error
    if set(indexed) != offsets or len(indexed) != len(offsets):
        raise _bad(f"{index.name} does not fit its .rec file: it is of another one")


def _bad(message: str) -> TrainerError:
    return TrainerError(
        ExitCode.InvalidData, message, "Pack the records again, with one whole label from 0 each."
    )
