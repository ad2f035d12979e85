"""Lenient decoding of what a trainer reports: each field by itself, and within bounds.

A field that is not of its type is left out, so that it takes no other field with it. Numbers, texts
and lists are cut to what the API server can store.
"""

import functools
import json
import math
import types
import typing
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")
_fields = functools.cache(msgspec.structs.fields)
MAX_INTEGER = 2**63 - 1
"""Largest integer of the API server; a larger one is a float there, and refused."""
MAX_TEXT = 4096
MAX_ITEMS = 64
# RecursionError: a thousand brackets from a pod must not end the operator.
NOT_A_REPORT = (msgspec.ValidationError, ValueError, RecursionError)


def decode(text: bytes | str, type: type[T]) -> T | None:
    """Return the JSON as this type; None if it is no JSON, or lacks a field that is required."""
    try:
        # This decoder, not msgspec's: it also reads NaN, huge numbers and lone surrogates.
        raw = json.loads(text, parse_int=_parse_integer, parse_constant=lambda _: None)
        found: T = _read(raw, type)
    except NOT_A_REPORT:
        return None
    return found


def _parse_integer(digits: str) -> int:
    """Parse an integer; one of thousands of digits is cut first, as Python refuses it."""
    return int(digits[:32])


def _read(raw: Any, type: Any) -> Any:
    """Return the value as this type, or raise ValidationError."""
    origin, arguments = typing.get_origin(type), typing.get_args(type)
    if origin is types.UnionType:  # always with None
        return None if raw is None else _read(raw, arguments[0])
    if origin is tuple:
        return _read_items(raw, arguments[0])
    if type is int:
        return _read_integer(raw)
    if type is str:
        return _read_text(raw)
    if isinstance(type, msgspec.StructMeta):
        return _read_struct(raw, type)
    return msgspec.convert(raw, type)


def _read_struct(raw: Any, type: Any) -> Any:
    fields = msgspec.convert(raw, dict[str, Any])
    found = {}
    for field in _fields(type):
        if field.encode_name not in fields:
            continue
        try:
            found[field.name] = _read(fields[field.encode_name], field.type)
        except NOT_A_REPORT:
            if field.required:
                raise
    try:
        return type(**found)
    except TypeError as error:  # a required field is missing
        raise msgspec.ValidationError(str(error)) from None


def _read_items(raw: Any, type: Any) -> tuple[Any, ...]:
    """Return the last items, without those that are not of their type."""
    found = []
    for item in msgspec.convert(raw, list[Any])[-MAX_ITEMS:]:
        try:
            found.append(_read(item, type))
        except NOT_A_REPORT:
            continue
    return tuple(found)


def _read_integer(raw: Any) -> int:
    if isinstance(raw, bool) or not isinstance(raw, int | float) or not math.isfinite(raw):
        raise msgspec.ValidationError("not an integer")
    return int(min(max(raw, 0), MAX_INTEGER))


def _read_text(raw: Any) -> str:
    text = msgspec.convert(raw, str)
    return text[:MAX_TEXT].encode(errors="replace").decode()
