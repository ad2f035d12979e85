"""One entry of an archive, as zip and tar have it, and the refusal of an archive."""

import dataclasses
from collections.abc import Callable
from typing import IO

MAKE_AGAIN = "Make the archive again, and set sha256 to notice a damaged copy."


class Refused(Exception):
    """An archive that is not unpacked. The caller knows the field that names it."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy


@dataclasses.dataclass(frozen=True)
class Member:
    """One file or folder of an archive."""

    name: str
    is_folder: bool
    open: Callable[[], IO[bytes]]
    name_remedy: str = ""
    """The remedy if the encoding of the name is unknown, so that the name may be wrong."""
