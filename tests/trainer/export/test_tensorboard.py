"""Event files, as TensorBoard itself reads them."""

import csv
import dataclasses
import datetime
from pathlib import Path

import msgspec
import pytest
from finetune_trainer.export.stage import export
from finetune_trainer.export.tensorboard import EVENTS
from finetune_trainer.run import files
from finetune_trainer.run.context import Run
from finetune_trainer.run.history import HISTORY, Row, append
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.trainer.export.test_stage import fitted_run, read

COLUMNS = {
    "loss/train": "train_loss",
    "accuracy/train": "train_accuracy",
    "accuracy/validation": "validation_accuracy",
    "learning_rate": "learning_rate",
    "images_per_second": "images_per_second",
}
OLD = Row(1, 0.5, 1.25, 0.75, 2.5)
"""An epoch of an earlier version of the trainer."""
ROWS = (
    OLD,
    Row(2, 0.625, 1.1, None, 2.5, 0.01, 199.5, "2026-11-29T12:30:05Z"),
    Row(3, 0.7, 1.0, 0.8, 2.5, 1e-06, 201.0, "2026-11-29T12:30:08Z"),
)


def wanting_events(root: Path, output: str = "", rows: tuple[Row, ...] = ROWS) -> Run:
    """Return a fitted run with these epochs, whose job has output.tensorboard."""
    run = fitted_run(root, output=output or f"file://{root}/out")
    for row in rows:
        append(run.paths.job / HISTORY, row)
    assert run.job.output is not None
    wanted = msgspec.structs.replace(run.job.output, tensorboard=True)
    return dataclasses.replace(run, job=msgspec.structs.replace(run.job, output=wanted))


def curves(directory: Path) -> dict[str, list[tuple[float, int, float]]]:
    """Return time, step and value of each point of each curve."""
    events = EventAccumulator(str(directory)).Reload()
    return {
        tag: [(e.wall_time, e.step, e.value) for e in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


def test_tensorboard_reads_the_curves_of_history_csv(tmp_path: Path) -> None:
    export(wanting_events(tmp_path))
    model = tmp_path / "out/flowers/uid-1"
    with open(model / HISTORY, newline="") as file:
        lines = list(csv.DictReader(file))
    found = curves(model)
    assert found.keys() == COLUMNS.keys()
    for tag, column in COLUMNS.items():
        expected = [(int(line["epoch"]), float(line[column])) for line in lines if line[column]]
        assert [step for _, step, _ in found[tag]] == [step for step, _ in expected]
        values = [value for _, _, value in found[tag]]
        assert values == pytest.approx([value for _, value in expected], rel=1e-6)
    times = [datetime.datetime.fromtimestamp(t, datetime.UTC) for t, _, _ in found["loss/train"]]
    ends = [f"{time:%Y-%m-%dT%H:%M:%SZ}" for time in times]
    assert ends == [ROWS[1].time, ROWS[1].time, ROWS[2].time]


def test_the_event_file_is_in_the_manifest_and_the_same_after_another_export(
    tmp_path: Path,
) -> None:
    run = wanting_events(tmp_path)
    export(run)
    model = tmp_path / "out/flowers/uid-1"
    before = (model / EVENTS).read_bytes()
    manifest = read(model / "manifest.json")
    assert manifest["files"][EVENTS] == files.sha256_of(model / EVENTS)
    export(run)
    assert (model / EVENTS).read_bytes() == before
    assert read(model / "manifest.json") == manifest


def test_a_history_without_times_is_read_all_the_same(tmp_path: Path) -> None:
    export(wanting_events(tmp_path, rows=(OLD,)))
    found = curves(tmp_path / "out/flowers/uid-1")
    assert found["loss/train"] == [(0.0, 1, 1.25)]
    assert "learning_rate" not in found


def test_without_a_history_there_is_no_event_file(tmp_path: Path) -> None:
    export(wanting_events(tmp_path, rows=()))
    assert not (tmp_path / "out/flowers/uid-1" / EVENTS).exists()


def test_nobody_gets_an_event_file_unasked(tmp_path: Path) -> None:
    run = fitted_run(tmp_path, output=f"file://{tmp_path}/out")
    append(run.paths.job / HISTORY, ROWS[1])
    export(run)
    assert not list((tmp_path / "out/flowers/uid-1").glob("*tfevents*"))
