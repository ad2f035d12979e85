"""Charts as inline SVG; their colours come from style.css."""

import dataclasses
import math
from collections.abc import Sequence

from finetune_trainer.evaluate.metrics import Bin, Evaluation
from finetune_trainer.export.report.markup import Markup, join, percent, tag

LABELLED = 40
"""Most classes for which a confusion matrix has room for names."""
NUMBERED = 16
"""Most classes for which it has room for numbers."""
LEVELS = 10
"""Number of shades of a cell."""
CELL = 34
"""Side of a cell with a name, in pixels."""


@dataclasses.dataclass(frozen=True)
class Line:
    """One curve."""

    name: str
    """Name in the legend."""
    points: tuple[tuple[float, float], ...]
    """(x, y) of each point."""
    class_: str
    """Class in style.css that sets the colour."""


def _svg(width: float, height: float, *content: str, label: str, class_: str) -> Markup:
    box = f"0 0 {width:g} {height:g}"
    return tag("svg", *content, viewBox=box, role="img", aria_label=label, class_=class_)


def _text(x: float, y: float, content: str, **attributes: object) -> Markup:
    return tag("text", content, x=f"{x:.1f}", y=f"{y:.1f}", **attributes)


def accuracy_bar(evaluation: Evaluation) -> Markup:
    """Draw the accuracy with its interval on a bar from 0 to 100 %, and the most frequent class."""
    width, middle = 600, 34
    low, high = evaluation.interval

    def at(share: float) -> float:
        return 8 + share * (width - 16)

    ticks = (
        _text(at(share), 70, f"{100 * share:.0f}", text_anchor=anchor, class_="tick")
        for share, anchor in (
            (0, "start"),
            (0.25, "middle"),
            (0.5, "middle"),
            (0.75, "middle"),
            (1, "end"),
        )
    )
    majority = at(evaluation.majority)
    beside = min(max(majority, 80), width - 80)
    return _svg(
        width,
        76,
        tag("rect", x=8, y=middle - 5, width=width - 16, height=10, rx=5, class_="track"),
        tag(
            "rect",
            tag("title", f"{percent(low)} to {percent(high)}"),
            x=f"{at(low):.1f}",
            y=middle - 5,
            width=f"{at(high) - at(low):.1f}",
            height=10,
            rx=5,
            class_="range",
        ),
        tag("line", x1=majority, x2=majority, y1=middle - 11, y2=middle + 11, class_="mark"),
        _text(beside, 14, "most frequent class", text_anchor="middle", class_="tick"),
        tag("circle", cx=f"{at(evaluation.accuracy):.1f}", cy=middle, r=9, class_="dot"),
        *ticks,
        label=f"accuracy {percent(evaluation.accuracy)}, {percent(low)} to {percent(high)}",
        class_="bar",
    )


def curves(title: str, lines: Sequence[Line], *, share: bool) -> Markup:
    """Draw curves over the epochs; `share`: the axis is in percent."""
    width, height, left, bottom, top = 520, 316, 46, 264, 18
    xs = [x for line in lines for x, _ in line.points]
    ys = [y for line in lines for _, y in line.points]
    ticks = _ticks(min(ys), 1.0) if share else _ticks(0.0, max(ys))
    first, last = min(xs), max(xs)

    def place(x: float, y: float) -> tuple[float, float]:
        along = (x - first) / (last - first) if last > first else 0.5
        up = (y - ticks[0]) / (ticks[-1] - ticks[0])
        return left + along * (width - left - 16), bottom - up * (bottom - top)

    drawn: list[str] = []
    for tick in ticks:
        _, y = place(first, tick)
        name = f"{100 * tick:.0f}" if share else f"{tick:g}"
        drawn.append(tag("line", x1=left, x2=width - 16, y1=y, y2=y, class_="grid"))
        drawn.append(_text(left - 8, y + 4, name, text_anchor="end", class_="tick"))
    for epoch in _epochs(first, last):
        x, _ = place(epoch, ticks[0])
        drawn.append(_text(x, bottom + 18, f"{epoch:g}", text_anchor="middle", class_="tick"))
    drawn.append(_text((left + width) / 2, height - 6, "epoch", text_anchor="middle"))
    for line in lines:
        places = " ".join("{:.1f},{:.1f}".format(*place(*point)) for point in line.points)
        drawn.append(tag("polyline", points=places, class_=f"line {line.class_}"))
        x, y = place(*line.points[-1])
        drawn.append(tag("circle", cx=x, cy=y, r=4, class_=line.class_))
    legend = (tag("span", line.name, class_=line.class_) for line in lines)
    picture = _svg(width, height, *drawn, label=title, class_="curves")
    caption = tag("figcaption", tag("b", title), " ", *legend)
    return tag("figure", caption, picture)


def _ticks(low: float, high: float) -> list[float]:
    """Return round numbers from at most `low` to at least `high`."""
    rough = max(high - low, 1e-3) / 4
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= rough * 0.999)
    start, end = math.floor(low / step + 1e-6), math.ceil(high / step - 1e-6)
    return [round(number * step, 9) for number in range(start, max(end, start + 1) + 1)]


def _epochs(first: float, last: float) -> list[float]:
    step = max(1, math.ceil((last - first) / 8))
    return [first + number * step for number in range(int((last - first) // step) + 1)]


def matrix(evaluation: Evaluation) -> Markup:
    """Draw the confusion matrix: rows are classes, columns are predicted classes.

    Cells of one shade are one SVG path, so that hundreds of classes make a small chart.
    """
    names = [each.name for each in evaluation.classes]
    labelled = len(names) <= LABELLED
    cell = CELL if labelled else max(2.0, 720 / len(names))
    room = 9 + 7.2 * min(20, max(map(len, names))) if labelled else 1
    size = cell * len(names)
    paths: dict[str, list[str]] = {}
    numbers: list[str] = []
    for row, column, images in evaluation.confusion:
        share = images / evaluation.classes[row].images
        kind = "right" if row == column else "wrong"
        level = math.ceil(math.sqrt(share) * LEVELS)
        x, y = room + column * cell, room + row * cell
        inner = cell - 1 if cell > 6 else cell
        paths.setdefault(f"{kind} l{level}", []).append(
            f"M{x:.1f} {y:.1f}h{inner:.1f}v{inner:.1f}h-{inner:.1f}z"
        )
        if len(names) <= NUMBERED:
            shade = "on" if level > 6 else "off"
            where = {"text_anchor": "middle", "class_": f"number {shade}"}
            numbers.append(_text(x + cell / 2, y + cell / 2 + 5, str(images), **where))
    shades = (tag("path", d="".join(d), class_=kind) for kind, d in sorted(paths.items()))
    frame = tag("rect", x=room, y=room, width=size, height=size, class_="frame")
    labels = _names(names, room, cell) if labelled else ()
    whole = room + size + 1
    picture = _svg(
        whole, whole, frame, *shades, *numbers, *labels, label="confusion matrix", class_="matrix"
    )
    return tag("div", picture, class_="scroll", style=f"--most:{max(whole, 520):.0f}px")


def _names(names: Sequence[str], room: float, cell: float) -> list[Markup]:
    drawn = []
    for number, name in enumerate(names):
        short = name if len(name) <= 20 else name[:19] + "\N{HORIZONTAL ELLIPSIS}"
        middle = room + number * cell + cell / 2
        text = join(tag("title", name), short)
        drawn.append(_text(room - 7, middle + 4, text, text_anchor="end"))
        turn = f"rotate(-90 {middle + 4:.1f} {room - 7:.1f})"
        drawn.append(_text(middle + 4, room - 7, text, transform=turn))
    return drawn


def calibration(bins: Sequence[Bin]) -> Markup:
    """Draw the accuracy of each group of images over its confidence."""
    side, left, bottom = 300, 46, 264
    span = bottom - 18
    most = max(each.images for each in bins)
    drawn: list[str] = []
    for share in (0, 0.25, 0.5, 0.75, 1):
        x, y, name = left + share * span, bottom - share * span, f"{100 * share:.0f}"
        drawn.append(tag("line", x1=left, x2=left + span, y1=y, y2=y, class_="grid"))
        drawn.append(_text(left - 8, y + 4, name, text_anchor="end", class_="tick"))
        drawn.append(_text(x, bottom + 18, name, text_anchor="middle", class_="tick"))
    drawn.append(tag("line", x1=left, y1=bottom, x2=left + span, y2=18, class_="ideal"))
    for each in bins:
        hint = (
            f"{each.images} images: confidence {percent(each.confidence)}, "
            f"accuracy {percent(each.accuracy)}"
        )
        drawn.append(
            tag(
                "circle",
                tag("title", hint),
                cx=f"{left + each.confidence * span:.1f}",
                cy=f"{bottom - each.accuracy * span:.1f}",
                r=f"{3 + 9 * math.sqrt(each.images / most):.1f}",
                class_="bubble",
            )
        )
    drawn.append(_text(left + span / 2, 298, "confidence, %", text_anchor="middle"))
    picture = _svg(side + 16, 304, *drawn, label="calibration", class_="curves")
    caption = tag("figcaption", tag("b", "Accuracy by confidence, %"))
    return tag("figure", caption, picture)
