"""Names that mean something: of classes, in one spelling, and of splits."""

import re
import unicodedata
from collections.abc import Callable, Iterable

from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.dataset.lock import SplitName

TRAIN = ("train", "training")
VALIDATION = ("val", "valid", "validation", "validate", "dev", "eval", "test", "testing")
"""Names of validation splits; the first of them that a source has validates."""
WITHOUT_CLASS = (
    *("unlabeled", "unlabelled", "unsorted", "predict", "predictions", "submission", "inference"),
    *("uncategorized", "uncategorised", "unassigned", "to sort", "to label", "to predict"),
)
"""Names of folders whose photos have no class yet."""
_FILLERS = {
    *("set", "data", "dataset", "image", "images", "img", "imgs", "photo", "photos"),
    *("picture", "pictures", "pics", "class"),
}
"""Words of a folder's name that say nothing."""
_OTHER_TRAIN = {
    "trn",
    *("entrenamiento", "treino", "treinamento", "entrainement", "apprentissage", "trening"),
    *("addestramento", "allenamento", "\u8bad\u7ec3", "\u8bad\u7ec3\u96c6"),
}
_OTHER_VALIDATION = {
    *("prueba", "pruebas", "teste", "essai", "prova", "validacion", "validacao", "validierung"),
    *(
        "validazione",
        "holdout",
        "heldout",
        "tests",
        "tst",
        "vld",
        "vali",
        "evaluation",
        "\u6d4b\u8bd5",
        "\u6d4b\u8bd5\u96c6",
    ),
    *("\u9a8c\u8bc1", "\u9a8c\u8bc1\u96c6"),
}
"""Names of splits that are never taken for such, but do not look like classes."""
_FOLD = re.compile(r"k?fold[ _-]?\d+", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_]+")
_INNER_CAPITAL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Unicode's categories of control characters, lone surrogates and line breaks."""
_DIRECTIONS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that reorder the text around them. Joiners, which Persian needs, are not among them.
"""
_UNSEEN = dict.fromkeys(map(ord, "\u00ad\u200b\u2060\ufeff"))
"""Characters without a shape: the soft hyphen, spaces of no width, the byte order mark."""
_COPY = re.compile(r"(?i:[ _-]+copy( ?\(?\d+\)?)?|[ _]?\(\d+\))$")
"""The end of the name of a folder that a desktop has copied, or a browser has downloaded again."""
_JOINT, _PLURAL = re.compile(r"(?<=[^\W\d_])[ _-]+(?=[^\W\d_])"), re.compile(r"(?<=\w{3})s\b")
_NUMBER = re.compile(r"0*([0-9]+?)(\.0*)?")
_LIST_OF_ONE = re.compile(r"""\[\s*(?:'([^']*)'|"([^"]*)")\s*\]""")
MISSING = frozenset(
    {"nan", "na", "n/a", "#n/a", "<na>", "#na", "null", "none", "nil", "undefined", "?", "-", "--"}
)
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


def words_of(name: str) -> list[str]:
    """Return the words of a name in small letters, without numbers and words that say nothing."""
    words = _WORD.findall(_INNER_CAPITAL.sub(" ", unicodedata.normalize("NFKC", name)))
    return [word for word in map(str.casefold, words) if word not in _FILLERS]


def plain_name(name: str) -> str:
    """Return a key that is the same for cat, Cats and cat_images; the name if it has no words."""
    return " ".join(word.rstrip("s") for word in words_of(name)) or same_name(name)


def look_the_same(names: Iterable[str]) -> list[list[str]]:
    """Return the groups of names that differ in case, form or spaces alone, or have one value."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(same_name(name), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def may_be_one(names: Iterable[str]) -> list[list[str]]:
    """Return the groups of names that may be one class: dog, dogs and dog (1).

    Names that `look_the_same` are in none.
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(_spelling(name), []).append(name)
    return [
        group
        for group in groups.values()
        if len(set(map(same_name, group))) > 1 and not all(map(_COPY.search, group))
    ]


def _spelling(name: str) -> str:
    joined = _JOINT.sub("", same_name(_COPY.sub("", name)))
    return _PLURAL.sub("", joined)


def split_of(stem: str) -> SplitName | None:
    """Return the split that a folder or a list is named after: train, photos_val, ..."""
    return split_named(_last_word(stem))


def split_named(word: str) -> SplitName | None:
    """Return the split of this very name, in capitals or not."""
    word = word.strip().lower()
    if word in TRAIN:
        return "train"
    return "validation" if word in VALIDATION else None


def side_of(name: str) -> SplitName | None:
    """Return the split that a name seems to mean: test1, TrainData, entrenamiento, fold0, ..."""
    if _FOLD.fullmatch(name):
        return "validation"
    sides = {_side_named(word) for word in words_of(_without_accents(name))}
    return sides.pop() if len(sides) == 1 else None


def sided(name: str) -> tuple[SplitName, str] | None:
    """Return the split and the rest of a name that has both: train_cat, cat-test."""
    words = words_of(_without_accents(name))
    for word, rest in ((words[0], words[1:]), (words[-1], words[:-1])) if words else ():
        if rest and (side := _side_named(word)):
            return side, " ".join(rest)
    return None


def _side_named(word: str) -> SplitName | None:
    if word in _OTHER_TRAIN:
        return "train"
    return "validation" if word in _OTHER_VALIDATION else split_named(word)


def _without_accents(name: str) -> str:
    letters = unicodedata.normalize("NFKD", name)
    return "".join(letter for letter in letters if not unicodedata.combining(letter))


def split_order(stem: str) -> int:
    """Return the place of a split's name in the order in which names are preferred."""
    return (TRAIN + VALIDATION).index(_last_word(stem).strip().lower())


def first_of_splits(
    names: Iterable[str], *, named_after: Callable[[str], str] = lambda name: name
) -> dict[SplitName, str]:
    """Return the preferred one of the names of each split; others are left out."""
    splits = {name: split for name in names if (split := split_of(named_after(name)))}
    first: dict[SplitName, str] = {}
    for name in sorted(splits, key=lambda name: _preference(named_after(name))):
        first.setdefault(splits[name], name)
    return first


def _preference(stem: str) -> tuple[int, bool, str]:
    return split_order(stem), not split_named(stem), stem


def _last_word(stem: str) -> str:
    return stem.rpartition("_")[2].rpartition("-")[2]


def _cannot_be_printed(character: str) -> bool:
    return unicodedata.category(character) in _UNPRINTABLE or character in _DIRECTIONS


def listed(names: Iterable[str], *, most: int = 8, count: int | None = None) -> str:
    """Join the first names for a message; `count` is their number if `names` are not all."""
    names = list(names)
    left = (count or len(names)) - min(most, len(names))
    return ", ".join(names[:most]) + (f" and {left} more" if left else "")
