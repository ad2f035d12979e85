"""Types of single fields, with the bounds and rules that the API server checks.

A rule (`cel`) is a CEL expression and its message: what is wrong, and what to write. Only the CRD
has the rules; the operator reads leniently.
"""

from typing import Annotated

from msgspec import Meta

from finetune_operator.api.kubernetes import Object

Rules = tuple[tuple[str, str], ...]


class Strict(Object, forbid_unknown_fields=True):
    """A part of the spec; a field that the CRD does not know is an error."""


def matches(pattern: str, message: str) -> tuple[str, str]:
    """Return the rule that a string matches a pattern: RE2, without backslashes and quotes."""
    return f"self.matches('^({pattern})$')", message


def rules(*each: tuple[str, str]) -> Meta:
    """Return the metadata that adds rules to a type."""
    return Meta(extra={"cel": each})


SUBDOMAIN = "[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
LABEL_KEY = "([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
EXTENDED_RESOURCE = "[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
IMAGE = (
    "[A-Za-z0-9][-A-Za-z0-9._/]*(:[0-9]+/[-a-z0-9._/]+)?"
    "(:[A-Za-z0-9_][-A-Za-z0-9_.]{0,127})?(@sha256:[0-9a-f]{64})?"
)
# An empty label, or one with '-' at an end, in the DNS prefix of a key: of nothing that has none.
BAD_PREFIX = "([.-][.]|[.]-).*/"
QUANTITY = "[0-9]{1,15}([.][0-9]{1,9})?(m|k|Ki|M|Mi|G|Gi|T|Ti|P|Pi)?"
KEYS_MESSAGE = (
    "each key must be letters, digits, '-', '_' and '.', at most 63, after an optional DNS prefix "
    "and '/', such as example.com/team"
)

OVERCOMMITTED = "['cpu', 'memory', 'ephemeral-storage']"
"""The resources whose limit may be above their request."""

Seconds = Annotated[int, Meta(ge=1, le=2147483647)]
Id = Annotated[int, Meta(ge=1, le=2147483647)]
Name = Annotated[
    str,
    Meta(min_length=1, max_length=253),
    rules(
        matches(
            SUBDOMAIN,
            "must be the name of an object: lower-case letters, digits, '-' and '.', with a letter "
            "or digit at both ends",
        )
    ),
]
_good_prefix = (
    f"!self.matches('{BAD_PREFIX}') && self.indexOf('/') <= 253",
    "the part before '/' must be a DNS name of at most 253 characters, such as example.com",
)
_int_or_string = {"x-kubernetes-int-or-string": True, "minimum": 0, "maxLength": 27}
_quantity = (
    f"type(self) == int || string(self).matches('^({QUANTITY})$')",
    "must be a quantity such as 4, 500m or 8Gi",
)
Quantity = Annotated[int | str, Meta(extra={"schema": _int_or_string, "cel": (_quantity,)})]
Size = Annotated[
    int | str,
    Meta(
        extra={
            "schema": {**_int_or_string, "minimum": 1},
            "cel": (
                _quantity,
                ("string(self).matches('[1-9]')", "must be above 0, such as 1Gi"),
            ),
        }
    ),
]
LabelKey = Annotated[
    str,
    Meta(min_length=1, max_length=317),
    rules(
        matches(
            LABEL_KEY,
            "must be letters, digits, '-', '_' and '.', at most 63, after an optional DNS prefix "
            "and '/', such as example.com/team",
        ),
        _good_prefix,
    ),
]
LabelValue = Annotated[
    str,
    Meta(max_length=63),
    rules(
        matches(
            "([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?",
            "must be letters, digits, '-', '_' and '.', with a letter or digit at both ends; "
            "put a number or true in quotes",
        )
    ),
]
LABEL_KEYS = (f"self.all(key, key.matches('^({LABEL_KEY})$'))", KEYS_MESSAGE)
LABEL_PREFIXES = (
    f"!self.exists(key, key.matches('{BAD_PREFIX}') || key.indexOf('/') > 253)",
    _good_prefix[1],
)
Labels = Annotated[dict[str, LabelValue], Meta(max_length=32), rules(LABEL_KEYS, LABEL_PREFIXES)]
ExtendedResource = Annotated[
    str,
    Meta(min_length=1, max_length=308),
    rules(
        matches(
            EXTENDED_RESOURCE,
            "must be the extended resource of a device plugin, such as nvidia.com/gpu",
        ),
        (
            f"!self.matches('{BAD_PREFIX}') && self.indexOf('/') <= 244 && "
            "!self.startsWith('requests.')",
            "the part before '/' must be a DNS name of at most 244 characters, and not begin with "
            "requests.",
        ),
    ),
]
Resources = Annotated[
    dict[str, Quantity],
    Meta(max_length=16),
    rules(
        (
            "self.all(key, key in ['cpu', 'memory', 'ephemeral-storage'] || "
            f"key.matches('^(hugepages-[1-9][0-9]*[KMG]i|{EXTENDED_RESOURCE})$'))",
            "each key must be cpu, memory, ephemeral-storage, hugepages-SIZE or an extended "
            "resource such as example.com/device",
        ),
        (
            f"!self.exists(key, key.matches('{BAD_PREFIX}') || key.indexOf('/') > 244 || "
            "key.startsWith('requests.'))",
            "the part of a key before '/' must be a DNS name of at most 244 characters, and not "
            "begin with requests.",
        ),
        (
            f"self.all(key, key in {OVERCOMMITTED} || !string(self[key]).matches('[.]|m$'))",
            "extended resources and huge pages are whole: write a number without a fraction",
        ),
        (
            "self.all(key, !key.startsWith('hugepages-') || quantity(string(self[key]))"
            ".asInteger() % quantity(key.substring(10)).asInteger() == 0)",
            "huge pages must be a multiple of their size, such as 4Mi of hugepages-2Mi",
        ),
    ),
]
