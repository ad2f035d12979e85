"""Names of hidden and system files, which are no photos or models, in folders and archives."""

import re
from collections.abc import Iterator
from pathlib import Path

SYSTEM_NAMES = frozenset(
    {
        "lost+found",
        "__macosx",
        "icon\r",
        "network trash folder",
        "temporary items",
        "thevolumesettingsfolder",
        "@eadir",
        "@recycle",
        "@recently-snapshot",
        "@tmp",
        "#recycle",
        "#snapshot",
        "~snapshot",
        "$recycle.bin",
        "system volume information",
        "thumbs.db",
        "thumbs.db:encryptable",
        "ehthumbs.db",
        "ehthumbs_vista.db",
        "desktop.ini",
    }
)
"""Files and folders that Linux, macOS, network storage devices and Windows add, in lower case."""
_CASED = re.compile(r"RECYCLER|(?i:found\.\d{3})")
"""Names that a class could have in lower case, and the folders of chkdsk."""


def is_skipped(name: str) -> bool:
    """Return True for hidden files, and for what systems add: it is no user's photo or model."""
    return (
        name.startswith(".")
        or name.casefold() in SYSTEM_NAMES
        or _CASED.fullmatch(name) is not None
    )


def visible(folder: Path) -> Iterator[Path]:
    """Yield the entries of a folder that are not skipped."""
    return (path for path in folder.iterdir() if not is_skipped(path.name))
