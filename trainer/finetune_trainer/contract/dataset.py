"""`spec.dataset`: the photos, and how they are read."""

from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from finetune_trainer.contract.values import Fraction, Rules, Source, Struct, rule


class Split(Struct, forbid_unknown_fields=True):
    """How validation images are set apart: stratified by class and seeded. At most one of
    trainPerClass and trainFraction."""

    train_per_class: Annotated[int, Meta(ge=1, le=1000000)] | None = None
    """Images of each class that train; the rest of the class validates."""
    train_fraction: Fraction | None = None
    """Part of each class that trains, between 0 and 1."""
    seed: Annotated[int, Meta(ge=0, le=2147483647)] = 0
    """Same seed, same pictures: same split, on every machine."""

    cel: ClassVar[Rules] = (
        (
            "!(has(self.trainPerClass) && has(self.trainFraction))",
            "set trainPerClass or trainFraction, not both",
        ),
        (
            "!has(self.trainFraction) || self.trainFraction.matches('^0[.]0*[1-9]')",
            "trainFraction must be above 0 and below 1: else a side of the split is empty",
        ),
    )


Framing = Literal["Crop", "Whole"]


class Image(Struct, forbid_unknown_fields=True):
    """How images are stored in the packed data set."""

    framing: Framing | None = None
    """What the network sees of an image: Whole, all of it, on a white square; Crop, the square in
    its middle. Default: Whole; Crop for the recipe tutorial and for RecordIO."""
    resize_short: Annotated[int, Meta(ge=32, le=4096)] = 256
    """Length of the shorter side after resizing, or of the square, in pixels."""
    jpeg_quality: Annotated[int, Meta(ge=1, le=100)] = 90
    """Quality of the stored JPEG."""


class BadImages(Struct, forbid_unknown_fields=True):
    """What happens to files that are not readable images."""

    policy: Literal["Skip", "Fail"] = "Skip"
    """Skip leaves them out and names them in the result; Fail ends the job at the first one."""
    max_fraction: Fraction = "0.05"
    """With Skip: the job fails if more than this part of all images is unreadable."""


_COLUMN = Annotated[str, Meta(min_length=1, max_length=253)]


class Csv(Struct, forbid_unknown_fields=True):
    """A list of photos and their classes; what is not set is found by name."""

    file: (
        Annotated[
            str,
            rule(
                "!self.startsWith('/') && !self.matches('(^|/)[.][.](/|$)')",
                "must be a path within the source, such as labels.csv",
                min_length=1,
                max_length=253,
            ),
        ]
        | None
    ) = None
    """Path of the list within the source. Default: its only .csv, or train.csv and val.csv."""
    path_column: _COLUMN | None = None
    """Column with the paths of the photos, relative to the list or to the source. Default: found
    by usual names, such as path, file or image."""
    label_column: _COLUMN | None = None
    """Column with the classes. Default: found by usual names, such as label, class or category."""


class Dataset(Struct, forbid_unknown_fields=True):
    """The photos and their classes."""

    source: Source
    """Folder, or archive of a folder, in one of the layouts."""
    validation_source: Source | None = None
    """Images that validate, of the same classes; then nothing is split off."""
    layout: Literal["Auto", "Folder", "Split", "Csv", "Lst", "RecordIO"] = "Auto"
    """Folder: one folder for each class. Split: such folders below train/ and val/. Csv: a list of
    paths and labels. Lst: im2rec's list. RecordIO: packed by im2rec. Auto: found out. A file
    classes.txt may name the classes, one a line, in the order of the labels."""
    csv: Csv | None = None
    """How to read the list of the layout Csv."""
    split: Split = msgspec.field(default_factory=Split)
    """How validation images are chosen. Default: trainFraction 0.8."""
    image: Image = msgspec.field(default_factory=Image)
    """How images are stored."""
    bad_images: BadImages = msgspec.field(default_factory=BadImages)
    """What to do with unreadable files."""
    prepare: Literal["Auto", "Separate", "Inline"] = "Auto"
    """Where the photos are packed. Separate: in a Job of its own without GPUs, and only then is
    the training Job made, so that no GPU waits for it; needs a workspace. Inline: in the training
    pod. Auto: Separate if there are GPUs and a workspace, else Inline."""

    cel: ClassVar[Rules] = (
        (
            "!has(self.validationSource) || !has(self.split) || "
            "!(has(self.split.trainPerClass) || has(self.split.trainFraction))",
            "with validationSource nothing is split off: remove split.trainPerClass and "
            "split.trainFraction, or validationSource",
        ),
        (
            "!has(self.layout) || self.layout != 'Split' || !(has(self.validationSource) || "
            "has(self.split) && (has(self.split.trainPerClass) || has(self.split.trainFraction)))",
            "the layout Split has a side that validates: remove validationSource, "
            "split.trainPerClass and split.trainFraction",
        ),
        (
            "!has(self.csv) || !has(self.layout) || self.layout in ['Auto', 'Csv']",
            "csv is for the layout Csv: remove it, or set layout to Csv",
        ),
    )
