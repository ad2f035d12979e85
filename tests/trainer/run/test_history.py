"""history.csv: one row an epoch, whatever attempts it took."""

import dataclasses
from pathlib import Path

from finetune_trainer.run.history import Row, append, read

ROW = Row(
    epoch=1,
    train_accuracy=0.5,
    train_loss=1.25,
    validation_accuracy=0.75,
    seconds=2.5,
    learning_rate=1.25e-06,
    images_per_second=199.5,
    time="2026-11-29T12:30:05Z",
)


def test_rows_come_back_as_they_were_given(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    unmeasured = dataclasses.replace(ROW, epoch=2, validation_accuracy=None)
    append(path, ROW)
    append(path, unmeasured)
    assert read(path) == (ROW, unmeasured)
    assert path.read_text().splitlines() == [
        "epoch,train_accuracy,train_loss,validation_accuracy,seconds,learning_rate,"
        "images_per_second,time",
        "1,0.500000,1.250000,0.750000,2.500,1.25e-06,199.5,2026-11-29T12:30:05Z",
        "2,0.500000,1.250000,,2.500,1.25e-06,199.5,2026-11-29T12:30:05Z",
    ]


def test_a_file_of_an_earlier_version_is_read_and_gets_the_new_columns(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    path.write_text(
        "epoch,train_accuracy,train_loss,validation_accuracy,seconds\n"
        "1,0.500000,1.250000,0.750000,2.500\n"
        "2,0.500000,1.250000,,2.500\n"
    )
    one = dataclasses.replace(ROW, learning_rate=None, images_per_second=None, time="")
    two = dataclasses.replace(one, epoch=2, validation_accuracy=None)
    assert read(path) == (one, two)
    three = dataclasses.replace(ROW, epoch=3)
    append(path, three)
    assert read(path) == (one, two, three)
    assert path.read_text().splitlines()[1] == "1,0.500000,1.250000,0.750000,2.500,,,"


def test_epochs_that_were_lost_with_their_attempt_are_replaced(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    for epoch in (1, 2, 3):
        append(path, dataclasses.replace(ROW, epoch=epoch))
    again = dataclasses.replace(ROW, epoch=2, train_loss=0.5)
    append(path, again)
    assert read(path) == (ROW, again)


def test_without_a_file_there_is_no_history(tmp_path: Path) -> None:
    assert read(tmp_path / "history.csv") == ()
