"""The layout Lst: reads im2rec's lists."""

from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.dataset.layouts import splits
from finetune_trainer.dataset.layouts.classes import name_of, read_classes
from finetune_trainer.dataset.layouts.collect import (
    Collected,
    check_own_photos,
    check_same_labels,
    check_some_found,
    without_both,
)
from finetune_trainer.dataset.layouts.found import Found
from finetune_trainer.dataset.layouts.names import class_of
from finetune_trainer.dataset.layouts.resolve import Resolver
from finetune_trainer.dataset.layouts.source import Source
from finetune_trainer.dataset.layouts.tree import Tree
from finetune_trainer.dataset.lock import SplitName


def has_lst(source: Source) -> bool:
    """Return True if there is a .lst file."""
    return bool(splits.files_with(source.tree, ".lst"))


def scan_lst(source: Source) -> Found:
    """Read im2rec's lists: number, label and path, separated by tabs."""
    tree = source.tree
    chosen = splits.choose(splits.files_with(tree, ".lst"), layout="Lst")
    rows = {split: list(_lst_rows(tree, file)) for split, file in chosen.files.items()}
    every = [row for each in rows.values() for row in each]
    given = read_classes(tree.root)
    names = _given_names(every, given) if given else _folder_names(every)
    collected: dict[SplitName, Collected] = {}
    described = []
    for split, file in chosen.files.items():
        paths = [path for path, _ in rows[split]]
        resolver = Resolver(source.index, file, paths.__iter__)
        described.append(file + resolver.describe())
        collected[split] = Collected(source)
        for path, label in rows[split]:
            collected[split].add(resolver, path, names.get(label, str(label)))
    check_own_photos(collected, chosen)
    both = without_both(collected)
    check_some_found(source, collected, chosen)
    check_same_labels(collected, chosen)
    classes = given or tuple(names[label] for label in sorted(names)) or None
    return Found(
        "Lst",
        {split: each.scan(classes) for split, each in collected.items()},
        "the list " + " and ".join(described),
        passed_over=chosen.passed_over,
        warnings=both,
        read=tuple(chosen.files.values()),
    )


def _lst_rows(tree: Tree, name: str) -> Iterator[tuple[str, int]]:
    with open(tree.root / name, encoding="utf-8-sig", errors="surrogateescape") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            fields = [field.strip() for field in line.strip().split("\t")]
            try:
                _, label, path = fields
                value = float(label)
                if value < 0 or value != int(value):
                    raise ValueError
            except (ValueError, OverflowError) as error:
                raise TrainerError(
                    ExitCode.InvalidData,
                    f"{name}, line {number} is not NUMBER, LABEL, PATH with tabs between and a"
                    f" whole label from 0: {line.strip()!r:.80}",
                    "Correct the line. A classifier needs one label for each photo."
                    if any(map(str.isdigit, line))
                    else "Correct the line, or remove it if it is a header: these lists have none.",
                ) from error
            yield path, int(value)


def _given_names(rows: Iterable[tuple[str, int]], names: tuple[str, ...]) -> dict[int, str]:
    """Return the names of classes.txt by label; raise InvalidData for a label beyond them."""
    return {label: name_of(label, names, where=path) for path, label in rows}


def _folder_names(rows: Iterable[tuple[str, int]]) -> dict[int, str]:
    """Return the folder of each label if each has one of its own, as in lists of im2rec."""
    folders: dict[int, str] = {}
    for path, label in rows:
        folder = PurePosixPath(path.replace("\\", "/")).parent.name
        if folders.setdefault(label, folder) != folder or not folder:
            return {}
    if len(set(folders.values())) < len(folders):
        return {}
    return {n: class_of(name, where="The folder") for n, name in folders.items()}
