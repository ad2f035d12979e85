"""Draws horizontal bars as SVG: light or dark as the reader's screen is, and no library."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from bench.scale.results import number

WIDTH, LABEL, VALUE = 760, 230, 64
BAR, GAP, GROUP_GAP, TOP = 16, 5, 16, 58
MISSING = "Not measured in this series."
COLOURS = (
    ("#1f77b4", "#58a6ff"),
    ("#e8871e", "#f0a04b"),
    ("#3f9142", "#56c271"),
    ("#8a63d2", "#b392f0"),
    ("#7d8590", "#9aa4ae"),
)
"""Of the parts of a bar: on a light and on a dark screen."""
STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#1f2328}.b{fill:#ffffff}.h{font-weight:600}"
    + ".n{fill:#59636e}"
    + "".join(f".c{n}{{fill:{light}}}" for n, (light, _) in enumerate(COLOURS))
    + "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.b{fill:#0d1117}.n{fill:#9198a1}"
    + "".join(f".c{n}{{fill:{dark}}}" for n, (_, dark) in enumerate(COLOURS))
    + "}"
)


@dataclass(frozen=True)
class Bar:
    """A bar: its name, and its parts in the order of the legend."""

    name: str
    parts: Sequence[float]
    note: str = ""
    """What stands behind the value."""


def draw(title: str, legend: Sequence[str], groups: Mapping[str, Sequence[Bar]]) -> str:
    """Return a picture; each group of bars has a scale of its own if its name says so much."""
    body, y = _legend(title, legend), TOP
    if not groups:
        body.append(_text(12, y + 12, MISSING))
        y += BAR + GAP
    for name, bars in groups.items():
        if name:
            body.append(_text(12, y + 12, name, style="h"))
            y += BAR + GAP
        longest = max((sum(bar.parts) for bar in bars), default=0) or 1
        for bar in bars:
            body += _bar(bar, y, scale=(WIDTH - LABEL - VALUE - 70) / longest)
            y += BAR + GAP
        y += GROUP_GAP
    return _picture(title, body, height=y)


def _legend(title: str, legend: Sequence[str]) -> list[str]:
    parts, x = [_text(12, 22, title, style="h")], 12
    for index, name in enumerate(legend if len(legend) > 1 else ()):
        parts.append(f'<rect class="c{index}" x="{x}" y="32" width="11" height="11" rx="2"/>')
        parts.append(_text(x + 16, 42, name))
        x += 34 + 7 * len(name)
    return parts


def _bar(bar: Bar, y: int, *, scale: float) -> list[str]:
    parts, x = [_text(LABEL - 8, y + 12, bar.name, anchor="end")], float(LABEL)
    for index, value in enumerate(bar.parts):
        size = f'width="{value * scale:.1f}" height="{BAR}"'
        parts.append(f'<rect class="c{index}" x="{x:.1f}" y="{y}" {size}/>')
        x += value * scale
    text = f"{number(sum(bar.parts))} {bar.note}".strip()
    return [*parts, _text(round(x) + 6, y + 12, text, style="n")]


def _text(x: int, y: int, text: str, *, style: str = "", anchor: str = "") -> str:
    attributes = f' class="{style}"' if style else ""
    attributes += f' text-anchor="{anchor}"' if anchor else ""
    return f'<text x="{x}" y="{y}"{attributes}>{escape(text)}</text>'


def _picture(title: str, body: Sequence[str], *, height: int) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">'
    parts = [head, f"<title>{escape(title)}</title><style>{STYLE}</style>"]
    parts.append('<rect class="b" width="100%" height="100%" rx="6"/>')
    return "\n".join([*parts, *body, "</svg>"]) + "\n"
