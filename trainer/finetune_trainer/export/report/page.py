"""The report: one HTML page of sections, without scripts and without network."""

import dataclasses
from collections.abc import Mapping
from importlib.resources import files

from finetune_trainer.evaluate.metrics import Evaluation
from finetune_trainer.export.report import figures, provenance
from finetune_trainer.export.report.markup import Markup, percent, tag
from finetune_trainer.export.report.provenance import DataSet, Facts
from finetune_trainer.run.history import Row


@dataclasses.dataclass(frozen=True, kw_only=True)
class Content:
    """Content of a report; sections without content are left out."""

    title: str
    subtitle: str
    evaluation: Evaluation
    pictures: Mapping[int, str]
    """Data URIs of the worst errors' pictures, by number of record."""
    history: tuple[Row, ...] = ()
    data: DataSet | None = None
    facts: tuple[Facts, ...] = ()


def render(content: Content) -> str:
    """Return the page as HTML."""
    style = files("finetune_trainer.export.report").joinpath("style.css").read_text()
    evaluation = content.evaluation
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{content.title}: {percent(evaluation.accuracy)}"),
        tag("style", Markup(style)),
    )
    sections = (
        figures.summary(evaluation),
        figures.learning(content.history),
        figures.confusion(evaluation),
        figures.mistakes(evaluation, content.pictures),
        figures.classes(evaluation),
        figures.calibration(evaluation),
        provenance.data(content.data),
        tag("div", *map(provenance.facts_section, content.facts), class_="columns"),
    )
    header = tag(
        "header",
        tag("p", "Fine-tuned image classifier", class_="kicker"),
        tag("h1", content.title),
        tag("p", content.subtitle, class_="subtitle"),
    )
    body = tag("body", tag("main", header, *sections))
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"
