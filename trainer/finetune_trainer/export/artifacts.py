"""The files of an output beside the model: figures, history, ONNX file, report, model card, and
an event file where it is wanted.

All follow from the files of earlier stages, so that a second export gives the same bytes.
Imports no MXNet.
"""

import csv
import importlib.metadata
import platform
import re
import shutil
from pathlib import Path

from finetune_trainer.dataset.lock import Tally, open_lock
from finetune_trainer.dataset.recordio import read_offsets
from finetune_trainer.dataset.thumbnail import data_uri
from finetune_trainer.evaluate.metrics import Evaluation, OnnxFile, status_metrics
from finetune_trainer.export.report.card import model_card
from finetune_trainer.export.report.page import Content, render
from finetune_trainer.export.report.provenance import DataSet, Facts
from finetune_trainer.export.tensorboard import EVENTS, write_events
from finetune_trainer.run import files, handoff, history
from finetune_trainer.run.context import Run

REPORT = "report.html"
CARD = "README.md"
CONFUSION = "confusion.csv"
METRICS = "metrics.json"
MXNET = ("model-symbol.json", "model-0000.params")
PICTURE = 180
"""Longer side of the pictures of the worst errors, in pixels."""


def add_artifacts(run: Run, evaluation: Evaluation, staged: Path) -> None:
    """Add all other files to a directory that holds the model's."""
    _add_figures(staged, evaluation)
    _add_history(run, staged)
    has_onnx = evaluation.onnx is not None and not evaluation.onnx.reason
    if has_onnx:
        shutil.copyfile(run.paths.job / handoff.MODEL_ONNX, staged / handoff.MODEL_ONNX)
    # Without an ONNX file the MXNet files are the model, even if output.formats omits them.
    has_mxnet = not (has_onnx and run.job.output and "mxnet" not in run.job.output.formats)
    if not has_mxnet:
        for name in MXNET:
            (staged / name).unlink()
    content = _content(run, evaluation, staged)
    files.write_atomic(staged / REPORT, render(content).encode())
    card = model_card(content, has_mxnet=has_mxnet, has_onnx=has_onnx)
    files.write_atomic(staged / CARD, card.encode())


def _add_history(run: Run, staged: Path) -> None:
    path = run.paths.job / history.HISTORY
    if path.exists():
        shutil.copyfile(path, staged / history.HISTORY)
        if run.job.output and run.job.output.tensorboard:
            write_events(staged / EVENTS, history.read(path))


def _add_figures(staged: Path, evaluation: Evaluation) -> None:
    metrics = {metric.name: float(metric.value) for metric in status_metrics(evaluation)}
    files.write_json(staged / METRICS, {**metrics, "evaluation": evaluation})
    names = [_cell(each.name) for each in evaluation.classes]
    counts = {(row, column): images for row, column, images in evaluation.confusion}
    with open(staged / CONFUSION, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["class \\ predicted", *names])
        for row, name in enumerate(names):
            writer.writerow([name, *(counts.get((row, column), 0) for column in range(len(names)))])


def _cell(name: str) -> str:
    """Return a name that a spreadsheet shows and does not calculate: `=1+1` gets an apostrophe."""
    is_number = re.fullmatch(r"[+-]?\d+([.]\d+)?", name)
    return f"'{name}" if name.startswith(("=", "+", "-", "@")) and not is_number else name


def _content(run: Run, evaluation: Evaluation, staged: Path) -> Content:
    packed = files.read_json(run.paths.job / handoff.PACKED, handoff.Packed)
    fitted = files.read_json(run.paths.job / handoff.FITTED, handoff.Fitted)
    built = files.read_json(run.paths.job / handoff.BUILT, handoff.Built)
    directory = Path(packed.directory)
    subtitle = [
        built.status.name,
        f"{len(packed.classes)} classes",
        f"{packed.status.train_images} training images",
    ]
    subtitle += [fitted.checkpoint.time[:10]] if fitted.checkpoint else []
    return Content(
        title=f"{run.job.namespace}/{run.job.name}" if run.job.namespace else run.job.name,
        subtitle=" \N{MIDDLE DOT} ".join(subtitle),
        evaluation=evaluation,
        pictures=_pictures(directory / "val.rec", evaluation),
        history=history.read(run.paths.job / history.HISTORY),
        data=_data(directory),
        facts=(
            _recipe(run, fitted),
            _model(built, evaluation.onnx),
            _environment(run),
            _digests(packed, staged),
        ),
    )


def _pictures(records: Path, evaluation: Evaluation) -> dict[int, str]:
    offsets = read_offsets(records.with_suffix(".idx"))
    numbers = [mistake.record for mistake in evaluation.worst]
    return {number: data_uri(records, offsets[number], side=PICTURE) for number in numbers}


def _data(packed: Path) -> DataSet:
    with open_lock(packed) as (header, files):
        return DataSet(lock=header, tally=Tally.of(files))


def _recipe(run: Run, fitted: handoff.Fitted) -> Facts:
    rows = [("epochs", str(fitted.epochs)), *fitted.settings.items()]
    rows += [("seed", str(run.job.training.seed))] if "seed" not in fitted.settings else []
    rows += [("minimum accuracy", run.job.training.min_accuracy or "")]
    return Facts(title=f"Recipe: {fitted.recipe}", rows=rows, text=fitted.reason)


def _model(built: handoff.Built, onnx: OnnxFile | None) -> Facts:
    rows = [
        ("pretrained", built.status.name),
        ("sha256 of pretrained", built.status.sha256),
        ("replaced layer", built.status.head),
        ("input", f"{built.input_size} x {built.input_size} pixels, RGB"),
        ("mean", ", ".join(f"{value:g}" for value in built.mean)),
        ("std", ", ".join(f"{value:g}" for value in built.std)),
        ("ONNX", _parity(onnx) if onnx else ""),
    ]
    return Facts(title="Model", rows=rows)


def _parity(onnx: OnnxFile) -> str:
    if onnx.reason:
        return f"none: {onnx.reason}"
    same = onnx.images - onnx.differing
    ties = f" (the others are ties: {onnx.ties})" if onnx.ties else ""
    return (
        f"opset {onnx.opset}; predicts the same class as MXNet for {same} of {onnx.images} "
        f"validation images{ties}; no probability differs by more than {onnx.max_difference:.1e}"
    )


def _environment(run: Run) -> Facts:
    hardware = f"GPUs: {run.gpus}" if run.gpus else f"CPUs: {run.threads}"
    if run.gang.nodes > 1:
        hardware = f"{run.gang.nodes} pods, each with {hardware}"
    rows = [
        ("trainer", _version("finetune-trainer")),
        ("MXNet", _version("mxnet") or _version("mxnet-cu112")),
        ("numpy", _version("numpy")),
        ("Pillow", _version("pillow")),
        ("onnxruntime", _version("onnxruntime")),
        ("Python", platform.python_version()),
        ("system", f"{platform.system()} {platform.machine()}"),
        ("hardware", hardware),
    ]
    return Facts(title="Environment", rows=rows)


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _digests(packed: handoff.Packed, staged: Path) -> Facts:
    names = (*MXNET, handoff.MODEL_ONNX, "labels.txt", "preprocessing.json")
    rows = [("data set", packed.status.digest)]
    rows += [(name, files.sha256_of(staged / name)) for name in names if (staged / name).exists()]
    return Facts(title="Digests", rows=rows, text="sha256; manifest.json lists all files.")
