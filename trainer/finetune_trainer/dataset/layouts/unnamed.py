"""Finds labels that name no photo: one for each photo, in the order of the photos' names."""

import io
import json
import posixpath
import zipfile
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from finetune_trainer.dataset.layouts.agreement import compare, may_be_classes
from finetune_trainer.dataset.layouts.inspect_list import MOST_LISTS
from finetune_trainer.dataset.layouts.source import MOST_BYTES, Source
from finetune_trainer.dataset.layouts.tree import join

TEXTS = (".txt", ".csv", ".tsv", ".dat", ".list", ".labels", "")
"""Endings of files that may have one label in each line."""


def labels_in_order(source: Source, classes: Mapping[str, str]) -> Iterator[str]:
    """Yield the files with one label for each photo that are not the classes of the folders.

    `classes` has the class of each photo by its path.
    """
    paths = sorted(classes)
    for file in _few(source):
        values = _values(source, file)
        if len(values) == len(paths) + 1 and values[0] not in values[1:]:
            values = values[1:]  # without the header
        if len(values) == len(paths) and may_be_classes(values, of=len(values)):
            pairs = zip(paths, values, strict=True)
            if compare(pairs).agreement != "same":
                yield file


def _few(source: Source) -> Iterator[str]:
    """Yield the files that may have labels, but none of those of which each photo has one."""
    for folder, names in source.tree.files.items():
        few = [n for n in names if posixpath.splitext(n)[1].lower() in (*TEXTS, ".json", ".npy")]
        if len(few) <= MOST_LISTS:
            yield from (join(folder, name) for name in few)


def _values(source: Source, file: str) -> Sequence[str]:
    """Return the lines of a text or the elements of an array; nothing of another file."""
    state = source.tree.state(file)
    if state is None or state.st_size > MOST_BYTES:
        return ()
    try:
        data = (source.tree.root / file).read_bytes()
        if file.lower().endswith(".npy"):
            array = np.load(io.BytesIO(data), allow_pickle=False)
            is_row = isinstance(array, np.ndarray) and array.ndim == 1
            return list(map(str, array.tolist())) if is_row else ()
        if file.lower().endswith(".json"):
            content = json.loads(data)
            return list(map(str, content)) if isinstance(content, list) else ()
        return [line for each in data.decode("utf-8-sig").splitlines() if (line := each.strip())]
    except (OSError, ValueError, EOFError, RecursionError, MemoryError, zipfile.BadZipFile):
        return ()
