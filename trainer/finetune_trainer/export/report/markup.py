"""HTML by construction: whatever is not markup already is escaped. No name of a file or a class
can become code.
"""

import html
from collections.abc import Sequence

_VOID = {"img", "meta"}


class Markup(str):
    """Text that is HTML."""


def tag(name: str, /, *content: str, **attributes: object) -> Markup:
    """Return an element; `class_` is class, `stroke_width` is stroke-width."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"'
        for key, value in attributes.items()
    )
    if name in _VOID:
        return Markup(f"<{name}{given}>")
    return Markup(f"<{name}{given}>{join(*content)}</{name}>")


def join(*content: str) -> Markup:
    """Put texts and markup together."""
    return Markup(
        "".join(each if isinstance(each, Markup) else html.escape(each) for each in content)
    )


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]], *, class_: str = "") -> Markup:
    """Return a table, in a frame of its own that scrolls sideways where it is narrow."""
    header = tag("thead", tag("tr", *(tag("th", cell, scope="col") for cell in head)))
    body = tag("tbody", *(tag("tr", *(tag("td", cell) for cell in row)) for row in rows))
    return tag("div", tag("table", header, body, class_=class_), class_="scroll")


def facts(rows: list[tuple[str, str]]) -> Markup:
    """Return names and what they stand for; what is empty is left out."""
    pairs = (join(tag("dt", name), tag("dd", value)) for name, value in rows if value)
    return tag("dl", *pairs)


def percent(share: float | None) -> str:
    """Return a share as people read it."""
    return "\N{EN DASH}" if share is None else f"{100 * share:.1f}\N{NO-BREAK SPACE}%"


def section(title: str, *content: str, text: str = "", class_: str = "") -> Markup:
    """Return a part of the page under a heading."""
    lead = [tag("p", text, class_="lead")] if text else []
    return tag("section", tag("h2", title), *lead, *content, class_=class_)
