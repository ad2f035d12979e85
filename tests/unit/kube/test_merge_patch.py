"""Applying the patch to the old value gives the new one (RFC 7386, section 2)."""

from typing import Any

from finetune_operator.kube.merge_patch import merge_patch
from hypothesis import given
from hypothesis import strategies as st

KEYS = st.sampled_from("abc")
VALUES: Any = st.recursive(
    st.one_of(st.booleans(), st.integers(0, 3), st.text("xy", max_size=2)),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=8,
)
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=3)


def apply(target: Any, patch: Any) -> Any:
    """The algorithm of the RFC, word for word."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = apply(result.get(key), value)
    return result


@given(old=OBJECTS, new=OBJECTS)
def test_patch_makes_the_old_into_the_new(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert apply(old, merge_patch(old, new)) == new


@given(value=OBJECTS)
def test_patch_between_equals_is_empty(value: dict[str, Any]) -> None:
    assert merge_patch(value, value) == {}


def test_patch_carries_only_what_changed() -> None:
    old = {"phase": "Pending", "model": {"name": "a", "head": "b"}, "gone": 1, "list": [1, 2]}
    new = {"phase": "Pending", "model": {"name": "c", "head": "b"}, "list": [1, 3]}
    assert merge_patch(old, new) == {"model": {"name": "c"}, "gone": None, "list": [1, 3]}
