"""Text of users as it may be shown."""

import os

import pytest
from finetune_trainer.run.printable import printable
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    "name",
    [
        "cat [old]",
        "[/b] cats :dog: <b> | * ` = \\",
        "\u00e9t\u00e9",
        "cafe\u0301",
        "\u732b\u3000\u72ac",  # a wide space
        "Photo at 9.41\u202fAM",  # as macOS names them
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",  # Persian, with a joiner
    ],
)
def test_names_are_shown_as_they_are(name: str) -> None:
    assert printable(name) == name


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
        ("gpj.\u202etac", "gpj.\\u202etac"),
        ("\x9b0m\x07", "\\x9b0m\\x07"),
        (os.fsdecode(b"n\xe9.jpg"), "n\\xe9.jpg"),
    ],
)
def test_what_would_control_a_terminal_is_an_escape(name: str, shown: str) -> None:
    assert printable(name) == shown


@given(st.text() | st.binary().map(os.fsdecode))
def test_any_text_can_be_written_as_one_line(text: str) -> None:
    shown = printable(text)
    assert len(shown.encode().splitlines()) <= 1
    assert printable(shown) == shown


def test_lines_of_an_error_stay_lines() -> None:
    assert printable("one\ntwo\x1b", keep="\n") == "one\ntwo\\x1b"
