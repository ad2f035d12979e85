"""What a data set must be like; an error names the folder, what was found and the remedy."""

from collections import Counter
from collections.abc import Iterable, Sequence
from decimal import Decimal

from finetune_trainer.contract import Dataset, ExitCode, TrainerError
from finetune_trainer.dataset.lock import File, Lock, Part
from finetune_trainer.dataset.scan import Scan

REMEDY = "Put the photos of each class into a folder of its own, directly below dataset.source."


def check_scans(scans: dict[Part, Scan], spec: Dataset) -> None:
    """Raise InvalidData if the folders cannot be a data set, before a photo is read."""
    train = scans["train"]
    if len(train.classes) < 2:
        raise TrainerError(
            ExitCode.InvalidData,
            f"dataset.source {spec.source.uri} has {_found(train)}; at least 2 class folders with"
            " photos are needed",
            _remedy(train),
        )
    if validation := scans.get("validation"):
        uri = spec.validation_source.uri if spec.validation_source else ""
        _check_validation(train, validation, uri)


def _check_validation(train: Scan, validation: Scan, uri: str) -> None:
    if not validation.classes:
        raise TrainerError(
            ExitCode.InvalidData,
            f"dataset.validationSource {uri} has {_found(validation)}",
            "It needs the class folders of dataset.source.",
        )
    if unknown := [name for name in validation.classes if name not in train.classes]:
        raise TrainerError(
            ExitCode.InvalidData,
            f"dataset.validationSource {uri} has classes that dataset.source has no photos of:"
            f" {listed(unknown)}",
            "Give the class folders the same names in both, or remove them.",
        )


def _found(scan: Scan) -> str:
    counts = Counter(photo.class_name for photo in scan.photos)
    parts = [f"{len(counts)} class folder(s) with photos"]
    if counts:
        parts[0] += f" ({listed(f'{name}: {count}' for name, count in counts.items())})"
    if scan.empty:
        parts.append(f"{len(scan.empty)} without photos of their own ({listed(scan.empty)})")
    if below := _below(scan):
        parts.append(f"{len(below)} photos in folders further below ({below[0]})")
    if beside := [left.path for left in scan.left_out if left.fate == "rejected"][len(below) :]:
        parts.append(f"{len(beside)} photos outside class folders")
    return ", ".join(parts)


def _below(scan: Scan) -> list[str]:
    return [left.path for left in scan.left_out if left.fate == "rejected" and "/" in left.path]


def _remedy(scan: Scan) -> str:
    if {"train", "training"} & {name.lower() for name in scan.empty} and _below(scan):
        return "Name the train folder in dataset.source and the other in dataset.validationSource."
    return REMEDY


def check_bad_images(lock: Lock, spec: Dataset) -> None:
    """Raise InvalidData if the user's policy does not allow so many unreadable photos."""
    bad = lock.unreadable()
    if not bad:
        return
    if spec.bad_images.policy == "Fail":
        raise bad_photo_error(bad[0].path, bad[0].reason)
    total = sum(1 for file in lock.files if file.label is not None)
    if len(bad) > Decimal(spec.bad_images.max_fraction) * total:
        raise TrainerError(
            ExitCode.InvalidData,
            f"{len(bad)} of {total} photos cannot be read, more than the part"
            f" {spec.bad_images.max_fraction} of dataset.badImages.maxFraction:"
            f" {listed((f'{file.path} ({file.reason})' for file in bad), most=3)}",
            "Replace or remove these files, or raise maxFraction.",
        )


def check_validation(lock: Lock) -> None:
    """Raise InvalidData if no photo is left to measure the accuracy on."""
    if not any(file.split == "validation" for file in lock.files):
        raise TrainerError(
            ExitCode.InvalidData,
            "No readable photo is left to validate: each class has only one"
            if not lock.settings.validation_source
            else "dataset.validationSource has no readable photo",
            "Add photos: a class needs at least two, one to train and one to validate.",
        )


def bad_photo_error(path: str, reason: str) -> TrainerError:
    """Return the error for the first unreadable photo under the policy Fail."""
    return TrainerError(
        ExitCode.InvalidData,
        f"{path} cannot be read ({reason}) and dataset.badImages.policy is Fail",
        "Replace or remove the file, or set the policy Skip.",
    )


def warnings_of(scans: dict[Part, Scan], files: Sequence[File]) -> tuple[str, ...]:
    """Return what is odd about the data set, but no reason to stop."""
    warnings = [
        f"the folder {name!r} holds no photos of its own and is no class"
        for scan in scans.values()
        for name in scan.empty
    ]
    classes = scans["train"].classes
    validated = {file.label for file in files if file.split == "validation"}
    if without := [name for label, name in enumerate(classes) if label not in validated]:
        warnings.append(f"no photo validates these classes: {listed(without)}")
    trained = {file.sha256 for file in files if file.split == "train"}
    copies = [file for file in files if file.split == "validation" and file.sha256 in trained]
    if copies:
        warnings.append(
            f"{len(copies)} photos that validate are copies of photos that train, so that the"
            f" accuracy is too high: {listed((file.path for file in copies), most=3)}"
        )
    return tuple(warnings)


def listed(names: Iterable[str], *, most: int = 8) -> str:
    """Join names for a message, a few of them."""
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
