"""The report's sections about figures: accuracy, training curves, errors, calibration."""

from collections.abc import Mapping, Sequence

from finetune_trainer.evaluate.metrics import METRICS, ClassFigures, Evaluation, Figure, Mistake
from finetune_trainer.export.report import charts
from finetune_trainer.export.report.charts import Line
from finetune_trainer.export.report.markup import Markup, join, percent, section, table, tag
from finetune_trainer.run.history import Row

SHOWN = 12
"""Most rows of a table of examples."""
MOST_CLASSES = 30
"""Most classes that are all shown at once."""


def summary(evaluation: Evaluation) -> Markup:
    """Show the accuracy with its interval, and the other figures as tiles."""
    low, high = evaluation.interval
    number, _, unit = percent(evaluation.accuracy).partition("\N{NO-BREAK SPACE}")
    headline = tag("p", number, tag("small", unit), class_="headline")
    sentence = (
        f"{evaluation.correct} of {evaluation.images} validation images are classified correctly. "
        f"With 95 % confidence the accuracy on such photos lies between {percent(low)} and "
        f"{percent(high)}."
    )
    text = tag("div", tag("h2", "Accuracy"), headline, tag("p", sentence))
    shown = sorted((each for each in METRICS if each.tile), key=lambda each: each.tile)
    notes = (tag("p", note, class_="note") for note in evaluation.notes)
    bar = tag("div", charts.accuracy_bar(evaluation))
    return join(
        tag("section", text, bar, class_="hero"),
        *notes,
        tag("div", *(_tile(each, evaluation) for each in shown), class_="cards"),
    )


def _tile(figure: Figure, evaluation: Evaluation) -> Markup:
    value = figure.value(evaluation)
    if value is None:
        return Markup()
    number = tag("b", percent(value) if figure.is_share else f"{value:.3f}")
    label = tag("span", figure.label)
    return tag("div", number, label, tag("small", figure.explanation), class_="card")


def learning(history: tuple[Row, ...]) -> Markup:
    """Draw the curves of accuracy and loss; nothing without a history."""
    if not history:
        return Markup()
    measured = tuple(
        (row.epoch, row.validation_accuracy)
        for row in history
        if row.validation_accuracy is not None
    )
    accuracy = [Line("training", tuple((r.epoch, r.train_accuracy) for r in history), "first")]
    if measured:
        accuracy.append(Line("validation", measured, "second"))
    loss = [Line("training", tuple((r.epoch, r.train_loss) for r in history), "first")]
    seconds = sum(row.seconds for row in history)
    return section(
        "Learning",
        charts.curves("Accuracy, %", accuracy, share=True),
        charts.curves("Loss", loss, share=False),
        text=f"{len(history)} epochs in {_duration(seconds)}. Training figures are measured "
        "during training, on the pictures as they were augmented.",
        class_="pair",
    )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def confusion(evaluation: Evaluation) -> Markup:
    """Show the confusion matrix, and the pairs of classes that are confused most often."""
    classes = evaluation.classes
    wrong = [each for each in evaluation.confusion if each[0] != each[1]]
    wrong.sort(key=lambda each: -each[2])
    rows = [
        (classes[row].name, classes[column].name, f"{images} of {classes[row].images}")
        for row, column, images in wrong[:SHOWN]
    ]
    pairs = tag("div", tag("h3", "Most frequent confusions"), _pairs(rows, len(wrong)))
    order = "" if len(classes) <= charts.LABELLED else ", in the order of labels.txt"
    return section(
        "Confusion",
        charts.matrix(evaluation),
        pairs if rows else tag("p", "No image is classified as another class."),
        text=f"Rows are the classes, columns the predicted classes{order}. The stronger "
        "the colour, the larger the share of the row; the diagonal is correct.",
        class_="confusion",
    )


def _pairs(rows: Sequence[tuple[str, ...]], total: int) -> Markup:
    more = f"and {total - len(rows)} more pairs, in confusion.csv" if total > len(rows) else ""
    return join(
        table(("class", "predicted", "images"), rows), tag("p", more, class_="more") if more else ""
    )


def classes(evaluation: Evaluation) -> Markup:
    """Show a table with the figures of each class."""
    ranked = sorted(evaluation.classes, key=lambda each: (each.f1 is None, each.f1, each.name))
    rows = [_row(each) for each in ranked]
    columns = ("class", "images", "recall, %", "precision, %", "F1, %")
    shown = len(rows) if len(rows) <= MOST_CLASSES else SHOWN
    rest = (
        tag("summary", f"and {len(rows) - shown} more"),
        table(columns, rows[shown:], class_="classes"),
    )
    return section(
        "Classes",
        table(columns, rows[:shown], class_="classes"),
        tag("details", *rest) if shown < len(rows) else "",
        text="The weakest first. Recall: the share of the class's images that are classified as "
        "it. Precision: the share of images classified as it that are of it. F1: their "
        "harmonic mean.",
    )


def _row(figures: ClassFigures) -> tuple[str, ...]:
    bar = tag("i", style=f"width:{100 * (figures.recall or 0):.0f}%")
    recall, precision, f1 = (
        percent(share).split("\N{NO-BREAK SPACE}")[0]
        for share in (figures.recall, figures.precision, figures.f1)
    )
    meter = join(tag("span", bar, class_="meter"), recall)
    return figures.name, str(figures.images), meter, precision, f1


def mistakes(evaluation: Evaluation, pictures: Mapping[int, str]) -> Markup:
    """Show the worst errors; `pictures` are data URIs by record."""
    if not evaluation.worst:
        return Markup()
    return section(
        "Worst errors",
        tag("div", *(_mistake(each, pictures) for each in evaluation.worst), class_="gallery"),
        text="The wrong answers with the highest confidence: search here first for wrong labels, "
        "and for what the photos do not show.",
    )


def _mistake(mistake: Mistake, pictures: Mapping[int, str]) -> Markup:
    picture = pictures.get(mistake.record)
    image = [tag("img", alt="", src=picture, loading="lazy")] if picture else []
    caption = tag(
        "figcaption",
        tag("b", mistake.label),
        tag("span", "predicted ", tag("em", mistake.predicted), f" {percent(mistake.confidence)}"),
        tag("small", mistake.path, title=mistake.path),
    )
    return tag("figure", tag("div", *image, class_="photo"), caption)


def calibration(evaluation: Evaluation) -> Markup:
    """Show how well confidence and accuracy agree."""
    return section(
        "Calibration",
        charts.calibration(evaluation.calibration),
        text="Each disc is a group of images, larger with more of them. On the line, confidence "
        "equals accuracy; below it, the network is overconfident. On average its confidence is "
        f"{percent(evaluation.calibration_error)} away from its accuracy.",
        class_="calibration",
    )
