"""Feature extraction by the pretrained trunk, with a cache beside the packed data.

The trunk is the network below its new last layer, or below its last blocks.
"""

import dataclasses
import hashlib
import logging
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import mxnet as mx
import numpy as np
from numpy.typing import NDArray

from finetune_trainer.model.inference import outputs
from finetune_trainer.model.network import PARAMS, SYMBOL, Network
from finetune_trainer.model.reader import Reader
from finetune_trainer.run import files

log = logging.getLogger(__name__)

Rows = NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Features:
    """One row for each view of each image, of the shape of the trunk's output."""

    train: Rows
    train_labels: Labels
    validation: Rows
    validation_labels: Labels

    def flat(self) -> "Features":
        """Return these features with each row flattened to a vector."""
        train, validation = (rows.reshape(len(rows), -1) for rows in (self.train, self.validation))
        return dataclasses.replace(self, train=train, validation=validation)

    def hold_out(self, held_out: NDArray[np.bool_]) -> "Features":
        """Return features that train on all views of the images that are not held out, and validate
        on the centre crops of those that are.
        """
        trained = np.tile(~held_out, len(self.train) // len(held_out))
        first = np.flatnonzero(held_out)
        return Features(
            self.train[trained],
            self.train_labels[trained],
            self.train[first],
            self.train_labels[first],
        )


@dataclasses.dataclass(frozen=True)
class Extraction:
    """The trunk, and the images whose features it is to extract."""

    model: Path
    """Directory of the network; the digest of its files is part of the cache's key."""
    trunk: Network
    train: Reader
    validation: Reader
    views: int
    """Number of views of each training image: the centre crop, then random crops."""
    seed: int

    def key(self) -> str:
        """Return a digest of all that changes the features, as the name of the cache file."""
        parts = [files.sha256_of(self.model / name) for name in (SYMBOL, PARAMS)]
        pixels = (self.train.input_size, self.train.mean, self.train.std)
        parts.append(repr((self.trunk.symbol.list_outputs(), pixels, self.views, self.seed)))
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def cached(
    extraction: Extraction, contexts: list[Any], *, on_batch: Callable[[int], None]
) -> Features:
    """Return the features from the cache; if they are missing, extract and cache them.

    A full disk costs only the cache. `on_batch` is called with the number of images of each batch;
    it may raise to stop.
    """
    path = extraction.train.record.parent / "features" / f"{extraction.key()}.npz"
    if (found := _load(path)) is not None:
        log.info("features: read from %s", path)
        return found
    features = _extract(extraction, contexts, on_batch)
    try:
        with files.whole_file(path) as file:
            _save(features, file)
    except OSError as error:
        log.warning("features: not cached: %s", error)
    return features


def _load(path: Path) -> Features | None:
    try:
        with open(path, "rb") as file, np.load(file) as arrays:
            return Features(**arrays)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        log.warning("features: %s is damaged (%s), they are extracted again", path, error)
        return None


def _save(features: Features, file: BinaryIO) -> None:
    """Write the format of np.savez, which itself leaves its file open if the disk is full."""
    with zipfile.ZipFile(file, "w") as archive:
        for name, rows in vars(features).items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, rows)  # type: ignore[no-untyped-call]


def _extract(
    extraction: Extraction, contexts: list[Any], on_batch: Callable[[int], None]
) -> Features:
    train, size = extraction.train, extraction.train.input_size
    _, (shape,), _ = extraction.trunk.symbol.infer_shape(data=(1, 3, size, size))

    def extract(passes: list[mx.io.DataIter], images: int) -> tuple[Rows, Labels]:
        # Filled in place: memory has room for only one copy of a large data set.
        rows = np.empty((len(passes) * images, *shape[1:]), np.float32)
        labels = np.empty(len(rows), np.int64)
        end = 0
        for batches in passes:
            for values, classes in outputs(extraction.trunk, batches, contexts):
                start, end = end, end + len(values)
                rows[start:end] = values
                labels[start:end] = classes
                on_batch(len(values))
        return rows, labels

    seeds = [(extraction.seed + view) % 2**31 for view in range(1, extraction.views)]
    crops = [train.crops(seed=seed) for seed in seeds]
    return Features(
        *extract([train.centre(), *crops], train.images),
        *extract([extraction.validation.centre()], extraction.validation.images),
    )
