"""How fast photos are packed: against MXNet's im2rec.py, and against the decoder as the limit.

`python -m bench.pack` makes photos of three sizes, packs each set in turn with all three (two
processes each; the import of libraries is not counted), and prints the ratios of the medians: of
seconds, and of processor seconds, which bear other work on the machine. `--memory` packs 1,000
and 50,000 different photos instead, from Debian's dataset-fashion-mnist if it is installed, and
prints the peak memory. Needs OpenCV, which im2rec.py imports.
"""

import argparse
import contextlib
import gzip
import io
import json
import multiprocessing
import multiprocessing.forkserver
import os
import resource
import runpy
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from finetune_trainer.dataset.pack import keep_memory
from finetune_trainer.dataset.resize import BILINEAR, resized
from PIL import Image

from tests.trainer.support.datasets import prepare_photos

RESIZE, QUALITY, PROCESSES, CLASSES = 256, 90, 2, 4
SIZES = {"500x375": (500, 375, 8000), "1 MP": (1152, 864, 4000), "12 MP": (4000, 3000, 640)}
"""Width, height, and how many photos are packed in one go."""
TARGETS = {"500x375": 1.3, "1 MP": 2.5, "12 MP": 7.0}
FASHION = Path("/usr/share/datasets/fashion-mnist")


def photo(seed: int, width: int, height: int) -> Image.Image:
    """Return noise with about the spectrum of photos: coarse structure strong, fine one weak."""
    random = np.random.default_rng(seed)
    total = np.zeros((height, width, 3), np.float32)
    cells, strength = 4, 1.0
    while cells < width:
        size = (max(2, cells * height // width), cells)
        for channel in range(3):
            octave = Image.fromarray(random.normal(size=size).astype(np.float32))
            shown = octave.resize((width, height), Image.Resampling.BICUBIC)
            total[..., channel] += strength * np.asarray(shown)
        cells, strength = cells * 2, strength * 0.6
    total = (total - total.mean()) / total.std() * 50 + 128
    return Image.fromarray(total.clip(0, 255).astype(np.uint8))


def make_photos(root: Path, *, width: int, height: int, count: int) -> None:
    """Write CLASS/N.jpg: a few different photos, told apart by a comment in the file."""
    drawn = []
    for seed in range(8):
        encoded = io.BytesIO()
        photo(seed, width, height).save(encoded, "JPEG", quality=90)
        drawn.append(encoded.getvalue())
    for number in range(count):
        folder = root / f"class{number % CLASSES}"
        folder.mkdir(parents=True, exist_ok=True)
        comment = b"\xff\xfe\x00\x0a" + b"%08d" % number
        start, rest = drawn[number % 8][:2], drawn[number % 8][2:]
        (folder / f"{number:06}.jpg").write_bytes(start + comment + rest)


def make_different_photos(root: Path, *, count: int, size: tuple[int, int] = (160, 128)) -> None:
    """Write CLASS/N.jpg, no two alike: clothes of Fashion-MNIST, or noise without it."""
    pictures = np.random.default_rng(0).integers(0, 256, (count, 28, 28), dtype=np.uint8)
    labels = np.arange(count) % CLASSES
    if FASHION.exists():
        pictures, labels = (
            np.concatenate([fashion(f"{part}-{kind}") for part in ("train", "t10k")])[:count]
            for kind in ("images-idx3", "labels-idx1")
        )
    for number, (pixels, label) in enumerate(zip(pictures, labels, strict=True)):
        folder = root / f"class{label}"
        folder.mkdir(parents=True, exist_ok=True)
        shown = Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)
        shown.convert("RGB").save(folder / f"{number:06}.jpg", quality=90)


def fashion(name: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return one of the files of Debian's dataset-fashion-mnist as an array."""
    content = gzip.decompress((FASHION / f"{name}-ubyte.gz").read_bytes())
    shape = np.frombuffer(content, ">u4", count=content[3], offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * len(shape)).reshape(shape)


def pack_with_im2rec(photos: Path, work: Path) -> float:
    """Run im2rec.py as its documentation says; return the seconds of the second step."""
    import cv2
    import mxnet

    cv2.setNumThreads(1)
    script = Path(mxnet.__file__).parent / "tools/im2rec.py"
    prefix = str(work / "photos")
    arguments = ["--resize", str(RESIZE), "--quality", str(QUALITY), "--num-thread", str(PROCESSES)]
    for options in (["--list", "--recursive"], arguments):
        sys.argv = [str(script), *options, prefix, str(photos)]
        started = time.perf_counter()
        runpy.run_path(str(script), run_name="__main__")
    return time.perf_counter() - started


def pack_with_ours(photos: Path, work: Path) -> float:
    """Run the stages fetch and prepare; return their seconds."""
    image = {"framing": "Crop", "resizeShort": RESIZE, "jpegQuality": QUALITY}
    _start_forkserver()
    started = time.perf_counter()
    prepare_photos(work, photos, threads=PROCESSES, image=image)
    return time.perf_counter() - started


def _start_forkserver() -> None:
    """Let it import what the packing processes are forked with."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["finetune_trainer.dataset.pack"])
    process = context.Process(target=keep_memory)
    process.start()
    process.join()


def only_decode(photos: Path, work: Path) -> float:
    """Decode, resize and encode every photo and throw it away; return the seconds."""
    paths = [str(path) for path in sorted(photos.rglob("*.jpg"))]
    with multiprocessing.Pool(PROCESSES, keep_memory) as pool:
        pool.map(_decode_one, paths[:PROCESSES], chunksize=1)
        started = time.perf_counter()
        for _ in pool.imap_unordered(_decode_one, paths, chunksize=8):
            pass
        return time.perf_counter() - started


def _decode_one(path: str) -> int:
    with Image.open(path) as image:
        width, height = image.size
        short = min(width, height)
        size = (round(width * RESIZE / short), round(height * RESIZE / short))
        image.draft("RGB", size)
        encoded = io.BytesIO()
        resized(image, size, BILINEAR).save(encoded, "JPEG", quality=QUALITY)
    return encoded.tell()


SUBJECTS: dict[str, Callable[[Path, Path], float]] = {
    "ours": pack_with_ours,
    "im2rec": pack_with_im2rec,
    "limit": only_decode,
}


def measure(subject: str, photos: Path) -> dict[str, float]:
    """Run a subject in a process of its own; return its seconds and peak memory in MiB."""
    with tempfile.TemporaryDirectory(dir=photos.parent) as work:
        # Not -m: forked processes would import this module, NumPy and all, as their main one.
        program = "import bench.pack; bench.pack.show_measured()"
        command = [sys.executable, "-c", program, subject, str(photos), work]
        output = subprocess.run(command, capture_output=True, text=True)
        if output.returncode:
            raise SystemExit(output.stdout + output.stderr)
        found: dict[str, float] = json.loads(output.stdout.splitlines()[-1])
        return found


def show_measured() -> None:
    """Print what the subject on the command line takes."""
    subject, photos, work = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    with contextlib.redirect_stdout(io.StringIO()):
        before = _processor_seconds()
        seconds = SUBJECTS[subject](photos, work)
        # It has waited for the workers; what they took counts when it is waited for.
        multiprocessing.forkserver._forkserver._stop()  # type: ignore[attr-defined]
        processor = _processor_seconds() - before
    workers = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    found = {"seconds": seconds, "processor": processor, "own": _peak(), "workers": workers}
    print(json.dumps(found))


def _peak() -> float:
    """Return the most memory of this program in MiB; rusage has that of its parent, too."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def _processor_seconds() -> float:
    """Return what this process and those it waited for took of the processors."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def compare(name: str, directory: Path, *, rounds: int) -> None:
    """Pack one set with all subjects in turn and print the ratios."""
    width, height, count = SIZES[name]
    photos = directory / "photos"
    make_photos(photos, width=width, height=height, count=count)
    taken: dict[str, list[dict[str, float]]] = {subject: [] for subject in SUBJECTS}
    for number in range(rounds + 1):
        for subject in SUBJECTS:
            found = measure(subject, photos)
            if number:  # the first round warms the page cache
                taken[subject].append(found)
    for kind in ("seconds", "processor"):
        cost = {
            subject: statistics.median(found[kind] for found in all_found) / count
            for subject, all_found in taken.items()
        }
        print(
            f"{name:>8}, {kind:>9}: {cost['im2rec'] / cost['ours']:.2f} x im2rec"
            f" (wanted {TARGETS[name]}),"
            f" {100 * cost['limit'] / cost['ours']:.0f} % of the limit (wanted 90); ms a photo:"
            f" {', '.join(f'{subject} {1000 * each:.2f}' for subject, each in cost.items())}",
            flush=True,
        )
    shutil.rmtree(photos)


def show_memory(directory: Path, counts: list[int]) -> None:
    """Pack sets of different numbers of small photos and print the peak memory of each."""
    for count in counts:
        photos = directory / "photos"
        make_different_photos(photos, count=count)
        found = measure("ours", photos)
        print(
            f"{count:>8} photos: packing process {found['own']:.0f} MiB,"
            f" largest worker {found['workers']:.0f} MiB, {count / found['seconds']:.0f} photos/s",
            flush=True,
        )
        shutil.rmtree(photos)


def main() -> None:
    """Run what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", nargs="*", choices=SIZES, default=list(SIZES))
    parser.add_argument("--memory", type=int, nargs="*", metavar="PHOTOS")
    options = parser.parse_args()
    print(f"{os.cpu_count()} processors, {PROCESSES} processes, shorter side {RESIZE} px")
    with tempfile.TemporaryDirectory() as directory:
        if options.memory is not None:
            show_memory(Path(directory), options.memory or [1000, 50_000])
            return
        for name in options.sizes:
            compare(name, Path(directory), rounds=options.rounds)


if __name__ == "__main__":
    main()
