"""`spec.dataset`: the photos, their classes, and the settings for reading them."""

from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from finetune_trainer.contract.values import Fraction, Rules, Source, Struct, rule

_COLUMN = Annotated[str, Meta(min_length=1, max_length=253)]


class GroupBy(Struct, forbid_unknown_fields=True):
    """The group of a photo, such as its patient, object or place: photos of one group are in one
    split. Exactly one of column and pattern."""

    column: _COLUMN | None = None
    """Column of the list (layout Csv) with the group."""
    pattern: Annotated[str, Meta(min_length=1, max_length=253)] | None = None
    """Regular expression that is searched in the path of the photo within the source. The group is
    what its first pair of parentheses matches; without parentheses, the whole match. Example:
    `(patient[0-9]+)_`."""

    cel: ClassVar[Rules] = (
        (
            "has(self.column) != has(self.pattern)",
            "set column (of the list) or pattern (of the paths), exactly one of them",
        ),
    )


class Split(Struct, forbid_unknown_fields=True):
    """The split into training and validation images, stratified by class and seeded. At most one
    of trainPerClass and trainFraction."""

    train_per_class: Annotated[int, Meta(ge=1, le=1000000)] | None = None
    """Training images of each class; the rest of the class are validation images."""
    train_fraction: Fraction | None = None
    """Fraction of each class that is for training, between 0 and 1."""
    seed: Annotated[int, Meta(ge=0, le=2147483647)] = 0
    """Seed of the split: the same seed and images give the same split on every machine."""
    group_by: GroupBy | None = None
    """The groups of photos that stay in one split. Default: each photo is its own group."""
    near_duplicates: Literal["Together", "Split"] = "Together"
    """Together keeps photos that are nearly the same, such as edited or mirrored copies, in one
    split. Split puts each where it falls, with a warning that names those in different splits."""

    cel: ClassVar[Rules] = (
        (
            "!(has(self.trainPerClass) && has(self.trainFraction))",
            "set trainPerClass or trainFraction, not both",
        ),
        (
            "!has(self.trainFraction) || self.trainFraction.matches('^0[.]0*[1-9]')",
            "trainFraction must be above 0 and below 1: otherwise one split is empty",
        ),
    )


Framing = Literal["Crop", "Whole"]


class Image(Struct, forbid_unknown_fields=True):
    """The form in which images are stored in the packed data set."""

    framing: Framing | None = None
    """The part of an image that the network sees. Whole: all of it, on a white square. Crop: the
    square in its middle. Default: Whole; Crop for the recipe tutorial and for RecordIO."""
    resize_short: Annotated[int, Meta(ge=32, le=4096)] | None = None
    """Length of the shorter side after resizing, or of the square, in pixels; at least the
    network's input. Default: 8/7 of that input, such as 256 for 224; records of RecordIO that are
    all of one size between the two keep it."""
    jpeg_quality: Annotated[int, Meta(ge=1, le=100)] = 90
    """Quality of the stored JPEG, 1 to 100."""


class BadImages(Struct, forbid_unknown_fields=True):
    """The policy for files that are not readable images."""

    policy: Literal["Skip", "Fail"] = "Skip"
    """Skip leaves these files out and names them in the result; Fail ends the job at the first
    one."""
    max_fraction: Fraction = "0.05"
    """With Skip: the job fails if more than this fraction of all images is unreadable."""


class Csv(Struct, forbid_unknown_fields=True):
    """A list of photos and their classes. Its file and columns are found by their names if they are
    not set."""

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
    """Column with the paths of the photos, relative to the list or to the source. Default: the one
    with a usual name, such as path, file or image."""
    label_column: _COLUMN | None = None
    """Column with the classes. Default: the one with a usual name, such as label, class or
    category; or one column for each class, of which the photo's has 1."""
    split_column: _COLUMN | None = None
    """Column with train, val or test for each photo. Default: the one with a usual name, such as
    split, set or is_valid, if its values are such."""


class Dataset(Struct, forbid_unknown_fields=True):
    """The photos and their classes."""

    source: Source
    """Folder, or archive of a folder, in one of the layouts."""
    validation_source: Source | None = None
    """Validation images, of the same classes; all images of source are then for training."""
    layout: Literal["Auto", "Folder", "Split", "Csv", "Lst", "RecordIO"] = "Auto"
    """Folder: one folder for each class. Split: such folders below train/ and val/. Csv: a list of
    paths and labels. Lst: im2rec's list. RecordIO: packed by im2rec. Auto: detected from the files.
    A file classes.txt may name the classes, one on each line, in the order of the labels."""
    csv: Csv | None = None
    """The list of the layout Csv."""
    split: Split = msgspec.field(default_factory=Split)
    """The split into training and validation images. Default: trainFraction 0.8."""
    image: Image = msgspec.field(default_factory=Image)
    """The form in which images are stored."""
    bad_images: BadImages = msgspec.field(default_factory=BadImages)
    """The policy for unreadable files."""
    prepare: Literal["Auto", "Separate", "Inline"] = "Auto"
    """The place where the photos are packed. Separate: in a Job of its own without GPUs; the
    training Job is made after it, so that no GPU waits; needs a workspace. Inline: in the training
    pod. Auto: Separate if there are GPUs and a workspace, otherwise Inline."""

    cel: ClassVar[Rules] = (
        (
            "!has(self.validationSource) || !has(self.split) || "
            "!(has(self.split.trainPerClass) || has(self.split.trainFraction))",
            "validationSource has the validation images: remove split.trainPerClass and "
            "split.trainFraction, or validationSource",
        ),
        (
            "!has(self.layout) || self.layout != 'Split' || !(has(self.validationSource) || "
            "has(self.split) && (has(self.split.trainPerClass) || has(self.split.trainFraction)))",
            "the layout Split has validation images already: remove validationSource, "
            "split.trainPerClass and split.trainFraction",
        ),
        (
            "!has(self.csv) || !has(self.layout) || self.layout in ['Auto', 'Csv']",
            "csv is only for the layout Csv: remove it, or set layout to Csv",
        ),
        (
            "!has(self.layout) || self.layout in ['Auto', 'Csv'] || !has(self.split) || "
            "!has(self.split.groupBy) || !has(self.split.groupBy.column)",
            "split.groupBy.column is only for the layout Csv: set split.groupBy.pattern instead",
        ),
    )
