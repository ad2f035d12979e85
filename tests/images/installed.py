"""Reads which packages are installed in an image, and which package each of its files is from."""

import csv
import email
import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from pathlib import PurePosixPath
from typing import Literal

from tests.images.archive import Archive

DPKG = "/var/lib/dpkg"
# Debian's packages name files by the paths from before /bin, /lib and /sbin became links.
MERGED = re.compile(r"^/(bin|sbin|lib|lib64)/")
BYTECODE = re.compile(r"__pycache__/([^/]+)\.cpython-\d+\.pyc$")
OWN = {"/app/": "this project", "/models/": "pretrained models"}
METADATA = re.compile(r"\.dist-info/(METADATA|RECORD)$")


@dataclass(frozen=True, kw_only=True)
class Package:
    """A package: a distribution of PyPI or a package of Debian."""

    kind: Literal["pypi", "deb"]
    name: str
    version: str
    architecture: str = ""
    licences: tuple[str, ...] = ()


class Installed:
    """The packages of an image."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._owners: dict[str, Package] = {}
        self.packages: list[Package] = []
        self._read_debian(texts)
        for path in sorted(path for path in texts if path.endswith(".dist-info/METADATA")):
            self._read_distribution(PurePosixPath(path).parent, texts)

    def owner(self, path: str) -> str:
        """Name the package that the file is from: `pypi NAME`, `deb NAME` or what else made it."""
        source = MERGED.sub(r"/usr/\1/", BYTECODE.sub(r"\1.py", path))
        if package := self._owners.get(source):
            return f"{package.kind} {package.name}"
        own = (name for folder, name in OWN.items() if source.startswith(folder))
        return next(own, "no package")

    def _read_debian(self, texts: Mapping[str, str]) -> None:
        for stanza in texts[f"{DPKG}/status"].strip().split("\n\n"):
            fields = email.message_from_string(stanza)
            if not fields["Status"].endswith(" installed"):
                continue
            name, architecture = fields["Package"], fields["Architecture"]
            package = Package(
                kind="deb",
                name=name,
                version=fields["Version"],
                architecture=architecture,
                licences=debian_licences(f"/usr/share/doc/{name}/copyright", texts),
            )
            self.packages.append(package)
            lists = (f"{DPKG}/info/{name}{tail}.list" for tail in ("", f":{architecture}"))
            files = next(texts[path] for path in lists if path in texts).splitlines()
            self._owners |= {MERGED.sub(r"/usr/\1/", file): package for file in files}

    def _read_distribution(self, folder: PurePosixPath, texts: Mapping[str, str]) -> None:
        fields = email.message_from_string(texts[f"{folder}/METADATA"])
        package = Package(
            kind="pypi",
            name=fields["Name"],
            version=fields["Version"],
            licences=distribution_licences(fields),
        )
        self.packages.append(package)
        for name, *_ in csv.reader(texts[f"{folder}/RECORD"].splitlines()):
            self._owners[normal(folder.parent / name)] = package


def read_installed(archive: Archive) -> Installed:
    """Read the packages of the image in the archive."""
    visible = archive.visible_files()
    return Installed(
        {
            path: file.read().decode(errors="replace")
            for layer in archive.layers
            for path, entry, content in archive.entries(layer)
            if visible.get(path) == layer and is_description(path)
            if (file := content.extractfile(entry))
        }
    )


def is_description(path: str) -> bool:
    """Tell whether the file says which packages there are, their files, or their licences."""
    is_debian = path.startswith(f"{DPKG}/") and path.endswith(("/status", ".list"))
    is_copyright = path.startswith("/usr/share/doc/") and path.endswith("/copyright")
    return is_debian or is_copyright or bool(METADATA.search(path))


def distribution_licences(fields: Message) -> tuple[str, ...]:
    """Return what the distribution says of its licence: the expression, else the classifiers, else
    the first line of its own words.
    """
    if expression := fields["License-Expression"]:
        return (str(expression),)
    classifiers = [str(line).split(" :: ") for line in fields.get_all("Classifier", [])]
    named = [parts[-1] for parts in classifiers if parts[0] == "License" and len(parts) > 2]
    return tuple(named or str(fields["License"] or "").strip().splitlines()[:1])


def debian_licences(path: str, texts: Mapping[str, str]) -> tuple[str, ...]:
    """Return the licences that a machine-readable copyright file names, else the file."""
    named = re.findall(r"^License:[ \t]*(\S.*)$", texts.get(path, ""), re.M)
    return tuple(sorted({name.strip() for name in named})) or (f"see {path}",)


def normal(path: PurePosixPath) -> str:
    """Return the path without `..`, by its text alone."""
    parts: list[str] = []
    for part in path.parts:
        parts = parts[:-1] if part == ".." else [*parts, part]
    return str(PurePosixPath(*parts))
