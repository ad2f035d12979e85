"""Packed records as MXNet batches, the same pixels on every machine and in every attempt.

Each pass has a new iterator, because ImageRecordIter starts its second pass where the padding of
the first one ended, and takes its seeds only when it is made. The last rows of a batch may repeat
earlier images to fill it, and must not be counted: see `inference.real_rows`.
"""

import contextlib
import dataclasses
import itertools
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np
from numpy.typing import NDArray

from finetune_trainer.contract import Augmentation
from finetune_trainer.dataset.recordio import read_offsets
from finetune_trainer.model.augmentation import SETTINGS
from finetune_trainer.model.network import Preprocessing


@dataclasses.dataclass(frozen=True)
class Reader:
    """Reads one record file for one network."""

    record: Path
    """A .rec file with its .idx beside it."""
    input_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    images: int
    batch_size: int
    threads: int

    @classmethod
    def of(
        cls, record: Path, preprocessing: Preprocessing, *, batch_size: int, threads: int
    ) -> "Reader":
        """Return a reader with the preprocessing of a network. The batch is never larger than the
        file, because ImageRecordIter refuses that.
        """
        images = len(record.with_suffix(".idx").read_text().splitlines())
        return cls(
            record,
            preprocessing.input_size,
            preprocessing.mean,
            preprocessing.std,
            images,
            min(batch_size, images),
            threads,
        )

    def centre(self) -> mx.io.DataIter:
        """Return the centre of every image once, in the order of the file."""
        return self._iterator()

    def crops(self, *, seed: int) -> mx.io.DataIter:
        """Return a random crop of every image once, mirrored or not, in the order of the file."""
        return self._iterator(seed=seed, seed_aug=seed, **SETTINGS["crop"])

    def shuffled(
        self, augmentation: Augmentation, *, seed: int, shard: int = 0, shards: int = 1
    ) -> mx.io.DataIter:
        """Return every image of a shard once; its order and changes depend on the seed."""
        return self._iterator(
            shuffle=True,
            seed=seed,
            seed_aug=seed,
            part_index=shard,
            num_parts=shards,
            **SETTINGS[augmentation],
        )

    def _iterator(self, **settings: Any) -> mx.io.DataIter:
        names = ("mean_r", "mean_g", "mean_b", "std_r", "std_g", "std_b")
        return mx.io.ImageRecordIter(
            path_imgrec=str(self.record),
            path_imgidx=str(self.record.with_suffix(".idx")),
            data_shape=(3, self.input_size, self.input_size),
            batch_size=self.batch_size,
            preprocess_threads=self.threads,
            round_batch=True,
            verbose=False,
            **dict(zip(names, (*self.mean, *self.std), strict=True)),
            **settings,
        )


def split_records(record: Path, held_out: NDArray[np.bool_], directory: Path) -> tuple[Path, Path]:
    """Copy the records into two files: those that are not held out, and those that are.

    MXNet's writer is not used, because it does not notice a full disk.
    """
    directory.mkdir(exist_ok=True)
    paths = directory / "train.rec", directory / "held-out.rec"
    bounds = itertools.pairwise([*read_offsets(record.with_suffix(".idx")), record.stat().st_size])
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(open(record, "rb"))
        targets = [stack.enter_context(open(path, "wb")) for path in paths]
        indexes = [stack.enter_context(open(path.with_suffix(".idx"), "w")) for path in paths]
        for number, ((start, end), is_held_out) in enumerate(
            zip(bounds, held_out.tolist(), strict=True)
        ):
            indexes[is_held_out].write(f"{number}\t{targets[is_held_out].tell()}\n")
            targets[is_held_out].write(source.read(end - start))
    return paths
