"""classes.txt: the names of the classes, one on each line, in the order of the labels."""

from pathlib import Path

from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.dataset.layouts.found import CLASSES_FILE
from finetune_trainer.dataset.layouts.names import class_of


def read_classes(root: Path) -> tuple[str, ...] | None:
    """Return the names in ROOT/classes.txt; None if there is no such file."""
    try:
        text = (root / CLASSES_FILE).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise _bad("is not UTF-8") from error
    lines = (line for line in text.split("\n") if line.strip())
    names = tuple(class_of(line, where=f"{CLASSES_FILE}: the name") for line in lines)
    if not names:
        raise _bad("is empty")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise _bad(f"names {twice[0]} twice")
    return names


def name_of(label: int, names: tuple[str, ...] | None, *, where: str) -> str:
    """Return the name of the class with this number."""
    if names is None:
        return str(label)
    if label >= len(names):
        raise TrainerError(
            ExitCode.InvalidData,
            f"{where} has the label {label}, but {CLASSES_FILE} has only {len(names)} names",
            "Labels count from 0: add the missing names, or correct the label.",
        )
    return names[label]


def _bad(what: str) -> TrainerError:
    return TrainerError(
        ExitCode.InvalidData,
        f"{CLASSES_FILE} {what}",
        "Write the name of each class on a line of its own, in the order of the labels.",
    )
