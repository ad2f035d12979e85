"""Makes docs/report.png, the README's picture of a report: `make pictures`.

It is the beginning of report.html of a run of the sample on the demo photos, drawn by Chromium.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from tests import demo_photos

SAMPLE = "deploy/samples/finetunejob.yaml"
PICTURE = Path("docs/report.png")
WIDTH, HEIGHT = 1000, 1000  # down to the end of the curves
COLOURS = 128


def main() -> None:
    """Train, draw, save."""
    with tempfile.TemporaryDirectory() as name:
        report = train(Path(name))
        screenshot = Path(name, "screenshot.png")
        draw(report, screenshot)
        save(screenshot, PICTURE)
    print(f"{PICTURE}: {PICTURE.stat().st_size / 1000:.0f} kB")


def train(directory: Path) -> Path:
    """Run the sample on the demo photos; return its report."""
    demo_photos.lay_out(directory / "photos")
    command = [sys.executable, "-m", "finetune_trainer", "run", SAMPLE]
    for option, folder in (("data", "photos"), ("workspace", "workspace"), ("output", "models")):
        command += [f"--{option}", str(directory / folder)]
    subprocess.run(command, check=True)
    (report,) = directory.glob("models/*/*/report.html")
    return report


def draw(report: Path, picture: Path) -> None:
    """Draw the page as on a screen of this size; as root Chromium has no sandbox."""
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    command += [f"--window-size={WIDTH},{HEIGHT}", f"--screenshot={picture}", report.as_uri()]
    subprocess.run(command, check=True, timeout=120)


def save(screenshot: Path, picture: Path) -> None:
    """Save it with few colours, for a README that loads at once."""
    with Image.open(screenshot) as image:
        image.convert("RGB").quantize(COLOURS).save(picture, optimize=True)


if __name__ == "__main__":
    main()
