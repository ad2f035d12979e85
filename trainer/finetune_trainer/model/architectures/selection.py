"""Selects the tensors of one network from a checkpoint, whatever it is wrapped in.

Training scripts save more than a network, and under names of their own: torch.compile puts
`_orig_mod.` before each name, Lightning the attribute that has the network, and a checkpoint may
hold the network twice, with its moving average. A network is where all of its names follow the
same prefix.
"""

import dataclasses
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from numpy.typing import NDArray

from finetune_trainer.model.shapes import as_text

Tensors = Mapping[str, NDArray[Any]]
_AVERAGED = re.compile(r"(^|[._])(ema|swa|averaged|teacher)(?![a-z])")
"""The prefix of a moving average, which is what training scripts evaluate."""
_COUNTER = ".num_batches_tracked"


@dataclasses.dataclass(frozen=True)
class Places:
    """The tensors that a network needs."""

    shapes: Mapping[str, tuple[int, ...]]
    """Their shapes by the names of PyTorch. 0 stands for any number of classes."""
    head: str
    """The module of the last layer, which may be missing: fine-tuning replaces it."""

    @property
    def needed(self) -> set[str]:
        """The names of the tensors that must be there: all but those of the last layer."""
        return {name for name in self.shapes if not self.has_replaced(name)}

    def has_replaced(self, name: str) -> bool:
        """Return True for a tensor of the last layer, or of layers that are in its place."""
        return name.startswith(f"{self.head.split('.')[0]}.")


@dataclasses.dataclass(frozen=True)
class Selection:
    """The tensors below one prefix, and what keeps them from being the network's."""

    prefix: str
    tensors: dict[str, str]
    """The names in the checkpoint, by the names of PyTorch."""
    misfits: list[str]


def select(tensors: Tensors, places: Places) -> list[Selection]:
    """Return the selections that hold all of the network, the best one first; else the nearest one.

    A selection without misfits comes before one with them, a moving average before the weights
    that it is of, and then the first in the file.
    """
    found = _by_prefix(tensors, places.shapes)
    whole = [prefix for prefix, names in found.items() if places.needed <= names]
    if not whole:
        whole = [max(found, key=lambda prefix: len(found[prefix]), default="")]
    selections = [_below(prefix, tensors, places) for prefix in whole]
    return sorted(selections, key=lambda s: (bool(s.misfits), not _AVERAGED.search(s.prefix)))


def unused(tensors: Iterable[str], selection: Selection) -> list[str]:
    """Return the names of the tensors that no place of the network takes."""
    taken = set(selection.tensors.values())
    return [name for name in tensors if name not in taken and not name.endswith(_COUNTER)]


def _by_prefix(names: Iterable[str], places: Collection[str]) -> dict[str, set[str]]:
    """Return the places that have a tensor, by the prefix of its name."""
    found: dict[str, set[str]] = {}
    for name in names:
        for prefix, rest in _splits(name):
            if rest in places:
                found.setdefault(prefix, set()).add(rest)
    return found


def _splits(name: str) -> Iterator[tuple[str, str]]:
    """Yield a name as prefix and rest: a.b.c is "" and a.b.c, a. and b.c, a.b. and c."""
    yield "", name
    for dot in re.finditer(r"\.", name):
        yield name[: dot.end()], name[dot.end() :]


def _below(prefix: str, tensors: Tensors, places: Places) -> Selection:
    """Return the selection of all tensors with this prefix."""
    taken, misfits = {}, []
    for key in tensors:
        name = key.removeprefix(prefix)
        if not key.startswith(prefix) or name.endswith(_COUNTER):
            continue
        if name in places.shapes:
            taken[name] = key
        elif not places.has_replaced(name):
            misfits.append(f"{key} has no place")
    for name, key in taken.items():
        shape, wanted = tensors[key].shape, places.shapes[name]
        if not _fits(shape, wanted):
            misfits.append(f"{key} is {as_text(shape)}, not {as_text(wanted)}")
    misfits += [f"{prefix}{name} is missing" for name in places.needed - taken.keys()]
    return Selection(prefix, taken, sorted(misfits))


def _fits(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    return len(shape) == len(wanted) and all(
        side in (given, 0) for given, side in zip(shape, wanted, strict=True)
    )
