"""Every bound of the CRD's spec at its edge and one beyond: the cases are made from the CRD."""

import copy
import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.component.conftest import CRD
from tests.support.admission import (
    EVERYTHING,
    HYPERPARAMETERS,
    OTHERWISE,
    RESUMED,
    VALIDATED,
    Admission,
    changed,
)
from tests.support.world import Object

BOUNDS = (
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "maxProperties",
)


@dataclasses.dataclass(frozen=True)
class Bound:
    """A bound, and a place in a job that it is about."""

    path: str
    kind: str
    value: int
    schema: Object
    job: Object | None
    place: str

    def values(self, size: int) -> list[Any]:
        """Return values of this size, one of which is right but for its size."""
        if self.kind in ("minimum", "maximum"):
            return [size]
        if self.kind in ("minLength", "maxLength"):
            return [each for each in _texts(size) if len(each) == size]
        if self.kind == "maxProperties":
            others = {f"example.com/a{n}": "1" for n in range(size)}
            known = HYPERPARAMETERS | others
            return [others, {name: known[name] for name in [*known][:size]}]
        return [self._items(size)]

    def _items(self, size: int) -> list[Any]:
        if words := self.schema["items"].get("enum"):
            return list(itertools.islice(itertools.cycle(words), size))
        assert self.job
        first = _at(self.job, self.place)[0]
        if isinstance(first, dict) and "name" in first:
            return [{**first, "name": f"{first['name']}{n}"} for n in range(size)]
        return [copy.deepcopy(first) for _ in range(size)]


def _texts(size: int) -> list[str]:
    """Texts of a size, each kind of field takes one of them."""
    return [
        "a" * size,
        "0" * size,
        "0." + "1" * (size - 2),
        "0" * 9 + "." + "1" * (size - 10),
        "0" * 6 + "100." + "1" * (size - 10),
        "1" * 15 + "." + "1" * (size - 18) + "Gi",
        "pvc://claim/" + "a" * (size - 12),
        "https://example.com/" + "a" * (size - 20),
        "a" * (size - 64) + "/" + "a" * 63,
    ]


def _at(job: Object, place: str) -> Any:
    value: Any = job
    for step in place.split("\0")[1:]:
        value = value[int(step)] if isinstance(value, list) else value[step]
    return value


def _places(schema: Object, value: Any, place: str) -> Iterator[tuple[str, Object]]:
    """Yield each place of a value with its schema."""
    yield place, schema
    if isinstance(value, dict):
        for key, inner in value.items():
            child = schema.get("properties", {}).get(key, schema.get("additionalProperties", {}))
            yield from _places(child, inner, f"{place}\0{key}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _places(schema["items"], inner, f"{place}\0{index}")


def _schemas(schema: Object, path: str) -> Iterator[tuple[str, Object]]:
    """Yield each field with its schema."""
    yield path, schema
    for key, inner in schema.get("properties", {}).items():
        yield from _schemas(inner, f"{path}.{key}")
    if "items" in schema:
        yield from _schemas(schema["items"], f"{path}[]")
    if inner := schema.get("additionalProperties"):
        yield from _schemas(inner, f"{path}.*")


def _bounds() -> Iterator[Bound]:
    crd = yaml.safe_load(CRD.read_text())
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    found: dict[int, tuple[Object, str]] = {}
    for job in (EVERYTHING, OTHERWISE, RESUMED, VALIDATED):
        for place, schema in _places(spec, job["spec"], "\0spec"):
            found.setdefault(id(schema), (job, place))
    for path, schema in _schemas(spec, "spec"):
        for kind in BOUNDS:
            if kind in schema:
                where = found.get(id(schema), (None, ""))
                yield Bound(path, kind, schema[kind], schema, *where)


@pytest.mark.parametrize("bound", [pytest.param(b, id=f"{b.path} {b.kind}") for b in _bounds()])
def test_bound_is_where_the_crd_says(admission: Admission, bound: Bound) -> None:
    assert bound.job, f"no job of tests/support/admission.py sets {bound.path}"
    place = "".join(f"['{step}']" for step in bound.place.split("\0")[1:])
    refusals = [
        admission.blocked(changed(bound.job, {place: value})) for value in bound.values(bound.value)
    ]
    # A text that may not be empty may have to be longer still.
    assert "" in refusals or bound.kind == "minLength", f"none is taken at the edge: {refusals}"
    beyond = bound.value - 1 if bound.kind.startswith("min") else bound.value + 1
    field = bound.path.rstrip(".*[]").rpartition(".")[2]
    for value in bound.values(beyond):
        assert field in admission.blocked(changed(bound.job, {place: value}))


def test_the_bounds_are_many() -> None:
    assert len(list(_bounds())) > 100
