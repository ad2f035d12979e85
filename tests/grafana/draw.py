"""Draws the dashboards from a recording, as Grafana does: its components, in Chromium."""

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from tests.grafana import boards

DESKTOP, PHONE = 1600, 400
PHONE_BREAK = 769
COLOURS = 128
HTML = """\
<!doctype html><meta charset="utf-8"><link rel="stylesheet" href="page.css">
<style>body {{ margin: 0 }}</style><div id="root"></div>
<script>
window.__grafana_public_path__ = "./";
window.PAGE = {page};
const [clock, offset] = [Date.now, PAGE.recorded.end * 1000 - Date.now()];
Date.now = () => clock() + offset;  // "5 minutes ago" is meant as of the recording
</script>
<script src="page.js"></script>
"""


@dataclass(frozen=True)
class Picture:
    """A dashboard, and how it is looked at."""

    uid: str
    theme: str
    width: int

    @property
    def name(self) -> str:
        """The name of its file; that of the dark, wide one is in the documentation."""
        phone = "-phone" if self.width == PHONE else ""
        light = "-light" if self.theme == "light" else ""
        return f"{self.uid}{phone}{light}.png"

    @property
    def height(self) -> int:
        """How high the whole dashboard is, as page.jsx lays it out."""
        places = [panel["gridPos"] for panel in boards.load(self.uid)["panels"]]
        is_phone = self.width < PHONE_BREAK
        bottoms = [place["y"] + place["h"] for place in places]
        rows: int = sum(place["h"] for place in places) if is_phone else max(bottoms)
        return 40 + 38 * rows + 8


PICTURES = tuple(
    Picture(uid, theme, width)
    for uid in boards.UIDS
    for theme in ("dark", "light")
    for width in (DESKTOP, PHONE)
)


def draw(picture: Picture, recording: dict[str, Any], bundle: Path, into: Path) -> Path:
    """Draw one picture; what the page prints on its console is an error."""
    page = {
        "board": boards.load(picture.uid),
        "recorded": recording[picture.uid],
        "theme": picture.theme,
        "width": picture.width,
    }
    html = bundle / f"{picture.name}.html"
    html.write_text(HTML.format(page=json.dumps(page).replace("</", "<\\/")))
    screenshot = bundle / picture.name
    # A window of Chromium is not narrower than 500 pixels.
    size = f"{max(picture.width, 500)},{picture.height}"
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    command += ["--allow-file-access-from-files", "--enable-logging=stderr", "--disable-quic"]
    command += ["--virtual-time-budget=8000", f"--window-size={size}"]
    command += [f"--screenshot={screenshot}", html.as_uri()]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    if printed := re.findall(r"CONSOLE.*", run.stderr):
        raise RuntimeError(f"{picture.name}: {printed}")
    return _save(screenshot, into / picture.name, picture.width)


def _save(screenshot: Path, target: Path, width: int) -> Path:
    """Save it with few colours, for a page that loads at once."""
    with Image.open(screenshot) as image:
        cut = image.convert("RGB").crop((0, 0, width, image.height))
        cut.quantize(COLOURS).save(target, optimize=True)
    return target
