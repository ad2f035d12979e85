"""HTML by construction: all text that is not Markup is escaped, so that no name of a file or a
class can become code.
"""

import html
from collections.abc import Sequence

from finetune_trainer.run.printable import printable

_VOID = {"img", "meta"}


class Markup(str):
    """Text that is HTML."""


def tag(name: str, /, *content: str, **attributes: object) -> Markup:
    """Return an element. `class_` sets the attribute class, `stroke_width` stroke-width."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_escape(str(value))}"'
        for key, value in attributes.items()
    )
    if name in _VOID:
        return Markup(f"<{name}{given}>")
    return Markup(f"<{name}{given}>{join(*content)}</{name}>")


def join(*content: str) -> Markup:
    """Return texts, escaped, and markup as one piece of markup."""
    return Markup("".join(each if isinstance(each, Markup) else _escape(each) for each in content))


def _escape(text: str) -> str:
    return html.escape(printable(text, keep="\n"))


def table(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]], *, class_: str = "") -> Markup:
    """Return a table that scrolls sideways on a narrow screen."""
    header = tag("thead", tag("tr", *(tag("th", cell, scope="col") for cell in columns)))
    body = tag("tbody", *(tag("tr", *(tag("td", cell) for cell in row)) for row in rows))
    return tag("div", tag("table", header, body, class_=class_), class_="scroll")


def facts(rows: list[tuple[str, str]]) -> Markup:
    """Return a list of names and values, without the empty values."""
    pairs = (join(tag("dt", name), tag("dd", value)) for name, value in rows if value)
    return tag("dl", *pairs)


def percent(share: float | None) -> str:
    """Return a share in percent; a dash for None."""
    return "\N{EN DASH}" if share is None else f"{100 * share:.1f}\N{NO-BREAK SPACE}%"


def section(title: str, *content: str, text: str = "", class_: str = "") -> Markup:
    """Return a section of the page: heading, introduction, content."""
    lead = [tag("p", text, class_="lead")] if text else []
    return tag("section", tag("h2", title), *lead, *content, class_=class_)
