"""Types of single fields: numbers, URIs, Secrets and sources, with their CEL rules."""

from typing import Annotated, Any, ClassVar, dataclass_transform

import msgspec
from msgspec import Meta

Rules = tuple[tuple[str, str], ...]
"""CEL rules of the CRD, each with the message that the user reads."""


def rule(cel: str, message: str, **bounds: Any) -> Meta:
    """Return the metadata of a field: a CEL rule of the CRD with its message, and Meta's bounds."""
    return Meta(extra={"cel": ((cel, message),)}, **bounds)


Decimal = Annotated[
    str,
    rule(
        r"self.matches('^[0-9]{1,9}(\\.[0-9]{1,9})?$')",
        'must be a decimal number in quotes, such as "0.01"',
        pattern=r"^[0-9]{1,9}(\.[0-9]{1,9})?$",
        max_length=19,
    ),
]
Fraction = Annotated[
    str,
    rule(
        r"self.matches('^(0(\\.[0-9]{1,9})?|1(\\.0{1,9})?)$')",
        'must be a decimal number from 0 to 1 in quotes, such as "0.8"',
        pattern=r"^(0(\.[0-9]{1,9})?|1(\.0{1,9})?)$",
        max_length=11,
    ),
]
Sha256 = Annotated[
    str,
    rule(
        "self.matches('^[0-9a-f]{64}$')",
        "must be 64 lower-case hex digits",
        pattern="^[0-9a-f]{64}$",
        max_length=64,
    ),
]
SUBDOMAIN = "[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
CLAIM = f"pvc://{SUBDOMAIN}(/.*)?"
ARCHIVE = "https?://[^/].*"
BUCKET = "s3://[a-z0-9][-.a-z0-9]{1,61}[a-z0-9](/.*)?"
Uri = Annotated[
    str,
    rule(
        "!self.matches('(^|/)[.][.](/|$)')",
        "must not contain '..': name the folder itself",
        min_length=1,
        max_length=1024,
    ),
    rule(
        "!self.matches('[[:cntrl:]]')",
        "must not contain line breaks or other control characters: remove them",
    ),
]


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(msgspec.field,))
class Struct(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A frozen value; its field names in JSON are camelCase, as in Kubernetes."""


class SecretRef(Struct, forbid_unknown_fields=True):
    """A Secret in the job's namespace."""

    name: Annotated[
        str,
        rule(
            f"self.matches('^{SUBDOMAIN}$')",
            "must be the name of a Secret: lower-case letters, digits, '-' and '.'",
            min_length=1,
            max_length=253,
        ),
    ]
    """Name of the Secret."""


def source_rules(https: str) -> Rules:
    """Return the rules of a source; `https` names the files that are allowed for `https://`."""
    return (
        (
            f"self.uri.matches('^({CLAIM}|{ARCHIVE}|{BUCKET}|file://.*)$')",
            "uri must be pvc://CLAIM/PATH with the name of a PersistentVolumeClaim, "
            f"s3://BUCKET/PREFIX, or {https}",
        ),
        (
            "!self.uri.startsWith('file://')",
            "uri file:// is for local runs only: put the files into a claim and write "
            "pvc://CLAIM/PATH",
        ),
        (
            "!self.uri.startsWith('http://') || has(self.sha256)",
            "uri http:// can be tampered with on the way: use https://, or set sha256",
        ),
        (
            "!self.uri.matches('^https?://[^/]*@')",
            "uri must not contain a password: put USERNAME and PASSWORD into a Secret and name it "
            "in secretRef",
        ),
        (
            "!has(self.secretRef) || self.uri.matches('^(https|s3)://')",
            "secretRef is for https:// and s3:// only: remove it",
        ),
    )


class Source(Struct, forbid_unknown_fields=True):
    """The place of files to read."""

    uri: Uri
    """`pvc://CLAIM/PATH`, `s3://BUCKET/PREFIX`, or `https://` of a .tar, .tar.gz, .tar.zst or .zip
    archive. `http://` needs sha256; `file://` is for local runs."""
    sha256: Sha256 | None = None
    """SHA-256 of the file at the URI; it is checked before the file is used."""
    secret_ref: SecretRef | None = None
    """Secret with TOKEN, or USERNAME and PASSWORD, for an `https://` source; with
    AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, where needed, AWS_SESSION_TOKEN, AWS_REGION and
    AWS_ENDPOINT_URL for an `s3://` source."""

    cel: ClassVar[Rules] = source_rules("https:// of an archive")
