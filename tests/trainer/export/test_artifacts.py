"""The files of an output beside the model: complete, the same each time, and safe to open."""

import csv
import dataclasses
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from finetune_trainer.contract import Output
from finetune_trainer.dataset.lock import File, Pair, open_lock, write_lock
from finetune_trainer.evaluate.metrics import Answers, Evaluation, OnnxFile, measure
from finetune_trainer.evaluate.stage import evaluate
from finetune_trainer.export.artifacts import add_artifacts
from finetune_trainer.model.exported import NAMES
from finetune_trainer.model.network import LABELS
from finetune_trainer.run import files, history
from finetune_trainer.run.context import Run
from finetune_trainer.run.handoff import EVALUATION, PACKED, Packed
from finetune_trainer.run.history import HISTORY, Row

from tests.trainer.support.fitted import leave_fitted
from tests.trainer.support.networks import make_run

HTML = "<script>alert(1)</script>"
NAMED = ("cat", HTML, "\"quoted\" & 'more'", "dog", "bird", "fish")
RECORDS = [0, 1, 2, 3, 4, 5] * 3


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run up to the stage evaluate, whose classes and files have hostile names."""
    root = tmp_path_factory.mktemp("finished")
    run, _ = make_run(
        root,
        train=[0, 1, 2, 3, 4, 5] * 3,
        validation=RECORDS,
        output=f"file://{root}/out",
    )
    name_hostilely(run)
    leave_fitted(run)
    evaluate(run)
    for epoch in (1, 2, 3):
        row = Row(epoch, 0.3 * epoch, 1 / epoch, 0.25 * epoch, 1.5)
        history.append(run.paths.job / HISTORY, row)
    return run


def name_hostilely(run: Run) -> None:
    packed = files.read_json(run.paths.job / PACKED, Packed)
    files.write_json(run.paths.job / PACKED, msgspec.structs.replace(packed, classes=NAMED))
    directory = Path(packed.directory)
    with open_lock(directory) as (header, photos):
        hostile = [msgspec.structs.replace(f, path=f"{f.path}{HTML}") for f in photos]
    rejected = File(path=f"{HTML}.heic", fate="rejected", label=0, reason=f"not a picture {HTML}")
    header = msgspec.structs.replace(
        header,
        classes=NAMED,
        warnings=(f"{HTML} has few images",),
        near_duplicates=(Pair(one=f"a{HTML}", other="b", bits=3),),
        near_duplicate_count=1,
    )
    write_lock(directory, header, [*hostile, rejected])


def stage(run: Run, directory: Path) -> Path:
    """Write the files that the export writes first, then add the others."""
    directory.mkdir()
    for source, name in NAMES.items():
        shutil.copyfile(run.paths.job / "best" / source, directory / name)
    add_artifacts(run, files.read_json(run.paths.job / EVALUATION, Evaluation), directory)
    return directory


class Page(HTMLParser):
    """Checks that elements are closed in order; collects what a browser would run or fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: set[str] = set()
        self.handlers: list[str] = []
        self.addresses: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        if tag not in ("img", "meta"):
            self.open.append(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        self.addresses += [v or "" for name, v in attrs if name in ("src", "href", "srcset")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_output_has_all_files(finished: Run, tmp_path: Path) -> None:
    staged = stage(finished, tmp_path / "staged")
    names = {path.name for path in staged.iterdir()}
    assert names == {
        *NAMES.values(),
        *("report.html", "README.md", "history.csv", "confusion.csv", "metrics.json"),
        "model.onnx",
    }
    metrics = json.loads((staged / "metrics.json").read_text())
    assert metrics["accuracy"] == pytest.approx(metrics["evaluation"]["accuracy"], abs=1e-4)
    assert metrics["evaluation"]["images"] == len(RECORDS)
    assert metrics["evaluation"]["onnx"]["images"] == len(RECORDS)
    rows = list(csv.reader((staged / "confusion.csv").read_text().splitlines()))
    assert rows[0][2] == rows[2][0] == HTML
    assert sum(int(n) for row in rows[1:] for n in row[1:]) == len(RECORDS)


def test_the_same_run_gives_the_same_bytes(finished: Run, tmp_path: Path) -> None:
    one, other = (stage(finished, tmp_path / name) for name in ("one", "other"))
    for path in one.iterdir():
        assert path.read_bytes() == (other / path.name).read_bytes(), path.name


def test_the_report_runs_nothing_and_fetches_nothing(finished: Run, tmp_path: Path) -> None:
    text = (stage(finished, tmp_path / "staged") / "report.html").read_text()
    page = Page(text)
    assert not page.elements & {"script", "link", "iframe", "object", "form", "a"}
    assert page.handlers == []
    assert page.addresses
    assert all(address.startswith("data:image/jpeg;base64,") for address in page.addresses)
    assert not re.search(r"url\(|@import|https?:", text)


def test_hostile_names_are_text_in_report_and_card(finished: Run, tmp_path: Path) -> None:
    staged = stage(finished, tmp_path / "staged")
    report, card = ((staged / name).read_text() for name in ("report.html", "README.md"))
    assert HTML not in report
    assert report.count("&lt;script&gt;") >= 5
    assert HTML not in card
    assert "\\<script\\>" in card


def test_the_report_shows_how_the_model_was_trained(finished: Run, tmp_path: Path) -> None:
    text = (stage(finished, tmp_path / "staged") / "report.html").read_text()
    status = files.read_json(finished.paths.job / PACKED, Packed).status
    for words in ("tutorial", "it is cheap", "adam", status.digest, "small", "3 epochs", "1.9.1"):
        assert words in text
    assert text.count("<polyline") == 3


def test_without_a_history_there_are_no_curves(finished: Run, tmp_path: Path) -> None:
    path = finished.paths.job / HISTORY
    kept = path.read_bytes()
    path.unlink()
    try:
        staged = stage(finished, tmp_path / "staged")
    finally:
        path.write_bytes(kept)
    assert not (staged / HISTORY).exists()
    assert "<polyline" not in (staged / "report.html").read_text()


def test_formats_that_the_output_does_not_want_are_left_out(finished: Run, tmp_path: Path) -> None:
    output = Output(uri="file:///out", formats=("onnx",))
    job = msgspec.structs.replace(finished.job, output=output)
    run = Run(job, finished.paths, finished.reporter)
    staged = stage(run, tmp_path / "staged")
    names = {path.name for path in staged.iterdir()}
    assert not names & {"model-symbol.json", "model-0000.params"}
    card = (staged / "README.md").read_text()
    assert "`model.onnx` takes" in card
    assert "MXNet files" not in card
    assert names >= {LABELS, "preprocessing.json", "report.html", "model.onnx"}


@pytest.mark.parametrize("formats", [("mxnet", "onnx"), ("onnx",)])
def test_an_onnx_file_with_other_answers_is_not_exported_but_the_model_is(
    formats: tuple[Any, ...], finished: Run, tmp_path: Path
) -> None:
    path = finished.paths.job / EVALUATION
    kept = path.read_bytes()
    evaluation = files.read_json(path, Evaluation)
    other = OnnxFile(reason="it names another class")
    files.write_json(path, msgspec.structs.replace(evaluation, onnx=other))
    output = Output(uri="file:///out", formats=formats)
    job = msgspec.structs.replace(finished.job, output=output)
    try:
        staged = stage(dataclasses.replace(finished, job=job), tmp_path / "staged")
    finally:
        path.write_bytes(kept)
    assert not (staged / "model.onnx").exists()
    assert (staged / "model-0000.params").exists()
    card = (staged / "README.md").read_text()
    assert "model.onnx" not in card
    assert "The MXNet files load with" in card
    assert "none: it names another class" in (staged / "report.html").read_text()


def test_a_hundred_classes_make_a_page_below_three_megabytes(finished: Run, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 100, 20_000)
    scores: Any = random.random((20_000, 100), dtype=np.float32)  # every cell of the matrix
    answers = Answers.of(scores / scores.sum(axis=1, keepdims=True), labels)
    evaluation = measure(
        answers,
        classes=[f"a class with a rather long name {number}" for number in range(100)],
        paths=["photo.jpg"] * len(labels),
        cross_entropy=1.0,
    )
    few = tuple(
        msgspec.structs.replace(mistake, record=number % len(RECORDS))
        for number, mistake in enumerate(evaluation.worst)
    )
    path = finished.paths.job / EVALUATION
    kept = path.read_bytes()
    files.write_json(path, msgspec.structs.replace(evaluation, worst=few))
    try:
        report = stage(finished, tmp_path / "staged") / "report.html"
    finally:
        path.write_bytes(kept)
    assert report.stat().st_size < 3_000_000
    Page(report.read_text())
