"""Writes the bill of materials of an image as CycloneDX 1.6: what is in it, of which licences."""

import re
import uuid
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import License
from cyclonedx.output.json import JsonV1Dot6
from finetune_trainer.model import catalogue
from packageurl import PackageURL

from tests.images.archive import Archive
from tests.images.installed import Package, read_installed

LICENCES = LicenseFactory()


def sbom_of(archive: Archive, *, wheels: dict[str, str]) -> str:
    """Return the SBOM of the image; `wheels` has the SHA-256 of each distribution's wheel by name.

    It is the same for the same image: its number and its date are the image's.
    """
    bom = Bom(serial_number=uuid.uuid5(uuid.NAMESPACE_URL, archive.digest))
    bom.metadata.timestamp = datetime.fromisoformat(archive.config["created"])
    bom.metadata.component = root = container(archive)
    parts = [distribution(p, wheels) if p.kind == "pypi" else debian(p) for p in packages(archive)]
    parts += [own(archive), *models(archive)]
    bom.components.update(parts)
    bom.register_dependency(root, parts)
    return str(JsonV1Dot6(bom).output_as_string(indent=1)) + "\n"


def packages(archive: Archive) -> list[Package]:
    """List the packages of the image."""
    return read_installed(archive).packages


def container(archive: Archive) -> Component:
    """Describe the image itself, by its digest."""
    title = labels(archive)["title"]
    return Component(
        type=ComponentType.CONTAINER,
        name=title,
        version=archive.digest,
        bom_ref=title + "@" + archive.digest,
        hashes=[sha256(archive.digest.removeprefix("sha256:"))],
    )


def own(archive: Archive) -> Component:
    """Describe the project's own code in the image."""
    about = labels(archive)
    return Component(
        type=ComponentType.APPLICATION,
        name=about["title"],
        version=about["version"],
        bom_ref="own",
        licenses=[LICENCES.make_with_id(about["licenses"])],
    )


def labels(archive: Archive) -> dict[str, str]:
    """Return what the image's labels say of it."""
    found: dict[str, str] = archive.config["config"]["Labels"]
    return {name.removeprefix("org.opencontainers.image."): value for name, value in found.items()}


def distribution(package: Package, wheels: dict[str, str]) -> Component:
    """Describe a distribution of PyPI, with the digest that PyPI gives for its wheel."""
    name = normal_name(package.name)
    purl = PackageURL("pypi", None, name, package.version)
    return library(package, purl, hashes=[sha256(wheels[name])])


def debian(package: Package) -> Component:
    """Describe a package of Debian."""
    place = {"arch": package.architecture, "distro": "bookworm"}
    purl = PackageURL("deb", "debian", package.name, package.version, place)
    return library(package, purl)


def library(package: Package, purl: PackageURL, *, hashes: Iterable[HashType] = ()) -> Component:
    """Describe a package by its URL."""
    return Component(
        type=ComponentType.LIBRARY,
        name=package.name,
        version=package.version,
        purl=purl,
        bom_ref=str(purl),
        hashes=hashes,
        licenses=licences(package),
    )


def models(archive: Archive) -> Iterator[Component]:
    """Describe the pretrained networks of the image, with the digest of what they are made from."""
    folders = {PurePosixPath(path).parent for path in archive.visible_files()}
    for folder in sorted(path for path in folders if path.parent == PurePosixPath("/models")):
        entry = catalogue.find(folder.name)
        assert entry.package, folder
        yield Component(
            type=ComponentType.MACHINE_LEARNING_MODEL,
            name=folder.name,
            version=entry.package.version,
            bom_ref=f"model:{folder.name}",
            hashes=[sha256(entry.package.sha256)],
            licenses=[LICENCES.make_with_id(entry.licence)],
        )


def licences(package: Package) -> list[License]:
    """Return the package's licences: one expression of SPDX, or what the package calls them."""
    if len(package.licences) == 1:
        return [LICENCES.make_from_string(package.licences[0])]
    return [LICENCES.make_with_name(name) for name in package.licences]


def wheels_of(report: dict[str, Any]) -> dict[str, str]:
    """Return the SHA-256 of each wheel in pip's report of an installation, by name."""
    return {
        normal_name(wheel["metadata"]["name"]): wheel["download_info"]["archive_info"]["hash"]
        .removeprefix("sha256=")
        for wheel in report["install"]
    }  # fmt: skip


def normal_name(name: str) -> str:
    """Return the one spelling of a distribution's name that package URLs have."""
    return re.sub(r"[-_.]+", "-", name).lower()


def sha256(digest: str) -> HashType:
    """Return the digest as CycloneDX has it."""
    return HashType(alg=HashAlgorithm.SHA_256, content=digest)
