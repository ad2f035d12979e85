"""Names that mean something: of classes, in one spelling, and of splits."""

import re
import unicodedata
from collections.abc import Callable, Iterable

from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.dataset.lock import SplitName

TRAIN = ("train", "training")
VALIDATION = ("val", "valid", "validation", "validate", "dev", "eval", "test", "testing")
"""Names of validation splits; the first of them that a source has validates."""
WITHOUT_CLASS = ("unlabeled", "unlabelled", "unsorted", "predict", "predictions", "submission")
"""Names of folders whose photos have no class yet."""
_UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Unicode's categories of control characters, lone surrogates and line breaks."""
_DIRECTIONS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that reorder the text around them. Joiners, which Persian needs, are not among them.
"""
_UNSEEN = dict.fromkeys(map(ord, "\u00ad\u200b\u2060\ufeff"))
"""Characters without a shape: the soft hyphen, spaces of no width, the byte order mark."""
_NUMBER = re.compile(r"0*([0-9]+?)(\.0*)?")
_LIST_OF_ONE = re.compile(r"""\[\s*(?:'([^']*)'|"([^"]*)")\s*\]""")
MISSING = frozenset({"nan", "na", "n/a", "#n/a", "<na>", "#na", "null", "none", "nil", "undefined"})
"""Words that programs write where a value is missing."""


def class_of(name: str, *, where: str) -> str:
    """Return the name of a class in the one form in which names are compared.

    The form is Unicode's NFC (macOS writes others) without characters that are not seen, spaces
    around it and the brackets of ['cat']. Raises InvalidData for a name that cannot be printed on
    one line.
    """
    form = unicodedata.normalize("NFC", name.translate(_UNSEEN)).strip()
    if of_one := _LIST_OF_ONE.fullmatch(form):
        form = (of_one[1] or of_one[2] or "").strip()
    if not form or any(map(_cannot_be_printed, form)):
        raise TrainerError(
            ExitCode.InvalidData,
            f"{where} {name!r} cannot be printed",
            "Rename it: it becomes the name of a class.",
        )
    return form


def same_name(name: str) -> str:
    """Return a key that is the same for names that differ in case, form or spaces alone.

    So is it for numbers of one value: 1, 01 and 1.0.
    """
    key = " ".join(unicodedata.normalize("NFKC", name).casefold().split())
    number = _NUMBER.fullmatch(key)
    return number[1] if number else key


def is_missing(value: str) -> bool:
    """Return True for nothing, and for a word that stands for a missing value."""
    return not value or value.strip().lower() in MISSING


def look_the_same(names: Iterable[str]) -> list[list[str]]:
    """Return the groups of names that differ in case, form or spaces alone, or have one value."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(same_name(name), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def split_of(stem: str) -> SplitName | None:
    """Return the split that a folder or a list is named after: train, photos_val, ..."""
    return split_named(_last_word(stem))


def split_named(word: str) -> SplitName | None:
    """Return the split of this very name, in capitals or not."""
    word = word.strip().lower()
    if word in TRAIN:
        return "train"
    return "validation" if word in VALIDATION else None


def split_order(stem: str) -> int:
    """Return the place of a split's name in the order in which names are preferred."""
    return (TRAIN + VALIDATION).index(_last_word(stem).strip().lower())


def first_of_splits(
    names: Iterable[str], *, named_after: Callable[[str], str] = lambda name: name
) -> dict[SplitName, str]:
    """Return the preferred one of the names of each split; others are left out."""
    splits = {name: split for name in names if (split := split_of(named_after(name)))}
    first: dict[SplitName, str] = {}
    for name in sorted(splits, key=lambda name: (split_order(named_after(name)), name)):
        first.setdefault(splits[name], name)
    return first


def _last_word(stem: str) -> str:
    return stem.rpartition("_")[2].rpartition("-")[2]


def _cannot_be_printed(character: str) -> bool:
    return unicodedata.category(character) in _UNPRINTABLE or character in _DIRECTIONS


def listed(names: Iterable[str], *, most: int = 8, count: int | None = None) -> str:
    """Join the first names for a message; `count` is their number if `names` are not all."""
    names = list(names)
    left = (count or len(names)) - min(most, len(names))
    return ", ".join(names[:most]) + (f" and {left} more" if left else "")
