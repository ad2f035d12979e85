"""docs/troubleshooting.md has every reason, Event and label that a user may read."""

import re
from pathlib import Path
from typing import get_args

from finetune_operator.api import constants
from finetune_operator.api.types import Phase
from finetune_trainer.contract import ExitCode

PAGE = (Path(__file__).parents[2] / "docs/troubleshooting.md").read_text()
TABLES = re.findall(r"^\| reason \| meaning .*?\n\n", PAGE, re.MULTILINE | re.DOTALL)
ROWS = re.findall(r"^\| ([A-Z]\w+) \|", "".join(TABLES), re.MULTILINE)
WORD = re.compile(r"[A-Z][a-z]+(?:[A-Z][a-z]+)*")
NO_REASONS = {"FineTuneJob"}
CONDITIONS = {constants.DATASET_READY, constants.PODS_READY, constants.METRICS_AVAILABLE}
CONDITIONS |= {constants.RUNNING, constants.FAILED}


def values() -> dict[str, str]:
    return {name: value for name, value in vars(constants).items() if isinstance(value, str)}


def reasons() -> set[str]:
    """Return the reasons among the constants: words like OutOfMemory."""
    words = {value for value in values().values() if WORD.fullmatch(value)}
    return words - NO_REASONS - CONDITIONS


def listed() -> set[str]:
    """Return the reasons of the tables, and of the section on jobs that are well."""
    well = re.search(r"^## All is well\n(.*?)^## ", PAGE, re.MULTILINE | re.DOTALL)
    assert well
    return set(ROWS) | set(WORD.findall(well[1]))


def test_each_reason_of_the_operator_is_on_the_page() -> None:
    assert len(reasons()) > 40
    assert reasons() - listed() == set()


def test_each_reason_of_the_trainer_is_on_the_page() -> None:
    assert {code.name for code in ExitCode} - listed() == set()


def test_the_tables_have_no_reason_that_nothing_gives() -> None:
    given = reasons() | {code.name for code in ExitCode}
    assert set(ROWS) - given == set()
    assert len(ROWS) == len(set(ROWS))


def test_each_phase_is_in_the_tree_and_among_the_events() -> None:
    for phase in get_args(Phase):
        assert f"FineTuneJob{phase}" in PAGE
    tree = PAGE.partition("## Nothing happens")[2].partition("## By symptom")[0]
    ended = {"Complete", "Failed"}
    assert all(phase in tree for phase in set(get_args(Phase)) - ended)


def test_each_label_is_on_the_page() -> None:
    labels = {value for name, value in values().items() if name.startswith("LABEL_")}
    assert len(labels) > 5
    assert all(f"`{label}`" in PAGE for label in labels | set(constants.KUEUE_LABELS))
