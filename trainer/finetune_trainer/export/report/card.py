"""The model card as Markdown: purpose, accuracy, data and origin of the model."""

import re
from collections.abc import Iterator

from finetune_trainer.evaluate.metrics import Evaluation
from finetune_trainer.export.report.markup import percent
from finetune_trainer.export.report.page import Content
from finetune_trainer.export.report.provenance import DataSet, Facts
from finetune_trainer.run.printable import printable

WEAKEST = 5
"""Number of classes that are listed with the lowest recall."""


def model_card(content: Content, *, has_mxnet: bool, has_onnx: bool) -> str:
    """Return the card of a model with these files: the report's sections in few words."""
    lines = _lines(content, has_mxnet=has_mxnet, has_onnx=has_onnx)
    return "\n".join(lines).replace("\N{NO-BREAK SPACE}", " ") + "\n"


def _lines(content: Content, *, has_mxnet: bool, has_onnx: bool) -> Iterator[str]:
    evaluation = content.evaluation
    classes = evaluation.classes
    yield f"# {_text(content.title)}"
    yield ""
    yield (
        f"An image classifier with {len(classes)} classes, fine-tuned by finetune-operator.\n"
        "`report.html` shows the same with pictures, `metrics.json` has all figures."
    )
    yield from ("", "## Use", "", "    finetune-trainer predict . photo.jpg", "")
    yield (
        "Every picture is classified as one of the classes, even if it shows none of them: check\n"
        "the probability. `labels.txt` lists the classes in order; `preprocessing.json` describes\n"
        "how a picture is preprocessed."
    )
    if has_onnx:
        yield "`model.onnx` takes float32 [N,3,S,S], normalised, and returns probabilities."
    if has_mxnet:
        yield "The MXNet files load with `mx.mod.Module.load('model', 0)`."
    yield from ("", "## Accuracy", "")
    yield from _accuracy(evaluation)
    if content.data:
        yield from ("", "## Data", "")
        yield from _data(content.data)
    for facts in content.facts:
        yield from ("", f"## {_text(facts.title)}", "")
        yield from _facts(facts)


def _accuracy(evaluation: Evaluation) -> Iterator[str]:
    low, high = evaluation.interval
    yield (
        f"**{percent(evaluation.accuracy)}** of {evaluation.images} validation images are\n"
        f"classified correctly (95 % interval {percent(low)} to {percent(high)}); always\n"
        f"answering the most frequent class gives {percent(evaluation.majority)}."
    )
    yield ""
    yield f"- mean per class: {percent(evaluation.mean_per_class)}"
    if evaluation.top5 is not None:
        yield f"- top 5: {percent(evaluation.top5)}"
    yield f"- calibration error: {percent(evaluation.calibration_error)}"
    ranked = sorted(
        (each for each in evaluation.classes if each.recall is not None),
        key=lambda each: (each.recall, each.name),
    )
    lowest = (f"{_text(each.name)} {percent(each.recall)}" for each in ranked[:WEAKEST])
    yield f"- classes with the lowest recall: {', '.join(lowest)}"
    yield from (f"- {_text(note)}" for note in evaluation.notes)


def _data(data: DataSet) -> Iterator[str]:
    status = data.status
    yield (
        f"- {status.classes} classes, {status.train_images} training images, "
        f"{status.validation_images} validation images, {status.rejected_images} rejected"
    )
    yield from (f"- {_text(warning)}" for warning in data.lock.warnings)


def _facts(facts: Facts) -> Iterator[str]:
    if facts.text:
        yield from (_text(facts.text), "")
    yield from (f"- {_text(name)}: {_text(value)}" for name, value in facts.rows if value)


def _text(text: str) -> str:
    """Escape what Markdown, HTML or GitHub's formulas would interpret."""
    return re.sub(r"([\\`*_\[\]<>|#~&$])", r"\\\1", printable(text))
