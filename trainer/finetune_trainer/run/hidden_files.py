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
_STAND_IN = re.compile(
    r"\.(?!_).+\.(?i:jpe?g|png|gif|webp|bmp|tiff?|heic|heif|avif|jp2)"
    r"\.(icloud|(?![a-z]{6})[A-Za-z0-9]{6})"
)
"""Hidden names of photos that are only in iCloud, and of those that rsync had not yet copied."""


def is_skipped(name: str) -> bool:
    """Return True for hidden files, and for what systems add: it is no user's photo or model."""
    if name.startswith("."):
        return not _STAND_IN.fullmatch(name)
    return name.casefold() in SYSTEM_NAMES or _CASED.fullmatch(name) is not None


def visible(folder: Path) -> Iterator[Path]:
    """Yield the entries of a folder that are not skipped."""
    return (path for path in folder.iterdir() if not is_skipped(path.name))
