"""Lays out the demo photos, one folder for each of 10 classes.

Use it as `python -m tests.demo_photos DIR`. The photos are cut-outs from Debian's package
tuxpaint-stamps-default (GPL-2), downloaded once to the user's cache and never committed. Needs
apt-get and dpkg-deb, but neither root nor an install.
"""

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path, PurePosixPath

PACKAGE = "tuxpaint-stamps-default"
STAMPS = "./usr/share/tuxpaint/stamps/"
CLASSES = {
    "bird": ("animals/birds",),
    "clothes": ("clothes",),
    "coin": ("symbols/money/canadian/coins", "symbols/money/euro/coins", "symbols/money/us/coins"),
    "flower": ("plants/flowers",),
    "fruit": ("food/fruit",),
    "mammal": ("animals/mammals", "animals/marsupials"),
    "roadsign": ("town/roadsigns",),
    "tool": ("household/tools", "household/arttools"),
    "vegetable": ("food/vegetables",),
    "vehicle": ("vehicles", "military/vehicles"),
}
NOT_PHOTOS = {"cartoon", "toys", "plastic"}


def lay_out(directory: Path) -> int:
    """Copy the photos to DIRECTORY/CLASS/NAME.png; return how many there are."""
    photos = cached_photos()
    shutil.copytree(photos, directory, dirs_exist_ok=True)
    return sum(1 for _ in photos.glob("*/*.png"))


def cached_photos() -> Path:
    """Return the photos in the user's cache, downloaded if they are not there yet."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "finetune-operator"
    photos = cache / "demo-photos-1"
    if photos.is_dir():
        return photos
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix="demo-photos-") as name:
        made = Path(name, "photos")
        extract_photos(download_package(Path(name)), made)
        try:
            made.rename(photos)
        except OSError:
            if not photos.is_dir():  # else another process was faster: its photos are the same
                raise
    return photos


def download_package(directory: Path) -> Path:
    """Download the .deb with the machine's package lists, or with fresh ones of our own."""
    say(f"downloading Debian's {PACKAGE} (161 MB, once; 12 MB of pictures are kept) ...")
    own_lists = [f"-oDir::State::Lists={directory}/lists", f"-oDir::Cache={directory}/cache"]
    for folder in ("lists/partial", "cache/archives/partial"):
        (directory / folder).mkdir(parents=True)
    if not apt_get("download", PACKAGE, cwd=directory):
        say("this machine's package lists do not have it: fetching fresh lists ...")
        if not (
            apt_get(*own_lists, "update", cwd=directory)
            and apt_get(*own_lists, "download", PACKAGE, cwd=directory)
        ):
            raise SystemExit(
                f"demo photos: apt-get cannot download {PACKAGE}. It needs Debian's main archive in"
                f" /etc/apt/sources.list and a network; try: apt-get download {PACKAGE}"
            )
    return next(directory.glob("*.deb"))


def apt_get(*arguments: str, cwd: Path) -> bool:
    """Run apt-get without root; its messages go to stderr."""
    try:
        command = ["apt-get", "-qq", "-oAPT::Sandbox::User=", *arguments]
        return subprocess.run(command, cwd=cwd, stdout=sys.stderr).returncode == 0
    except FileNotFoundError:
        raise SystemExit("demo photos: there is no apt-get here; run this on Debian 12") from None


def extract_photos(package: Path, directory: Path) -> None:
    """Write the photos of all classes from the package to `directory`."""
    command = ["dpkg-deb", "--fsys-tarfile", str(package)]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE) as process,
        tarfile.open(fileobj=process.stdout, mode="r|") as archive,
    ):
        for member in archive:
            path = PurePosixPath(member.name.removeprefix(STAMPS))
            content = archive.extractfile(member) if is_photo(path) else None
            if content and (target := target_of(path)):
                (directory / target).parent.mkdir(parents=True, exist_ok=True)
                with content, open(directory / target, "wb") as file:
                    shutil.copyfileobj(content, file)
    if process.returncode:
        raise SystemExit(f"demo photos: dpkg-deb ended with {process.returncode}")


def is_photo(path: PurePosixPath) -> bool:
    """Tell photos from drawings and from mirrored copies (a copy would leak into validation)."""
    return (
        path.suffix == ".png"
        and not path.stem.endswith("_mirror")
        and not NOT_PHOTOS.intersection(path.parts)
    )


def target_of(path: PurePosixPath) -> PurePosixPath | None:
    """Return CLASS/NAME.png, NAME telling the coins of three countries apart."""
    for name, folders in CLASSES.items():
        for folder in folders:
            if path.is_relative_to(folder):
                return PurePosixPath(name, "-".join(path.parts[-3:]))
    return None


def say(text: str) -> None:
    """Tell the user what is being done."""
    print(f"demo photos: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: python -m tests.demo_photos DIR")
    say(f"{lay_out(Path(sys.argv[1]))} photos of {len(CLASSES)} classes in {sys.argv[1]}")
