"""The command line: a table of verbs, each imported when it is used."""

import os
import subprocess
import sys

import pytest
from finetune_trainer.cli.main import VERBS, main
from finetune_trainer.contract import ExitCode


def loaded_by(*arguments: str) -> set[str]:
    """Return the top-level modules that a process has loaded when it has printed this help."""
    program = f"""
import sys
from finetune_trainer.cli.main import main
try:
    main({[*arguments, "--help"]!r})
except SystemExit as end:
    assert end.code == 0
print("\\n" + " ".join({{name.partition(".")[0] for name in sys.modules}}))
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_help_names_each_verb_and_imports_none(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert {words[0] for words in lines if words} > VERBS.keys()
    assert not loaded_by() & {"msgspec", "rich", "numpy", "mxnet"}


@pytest.mark.parametrize("verb", VERBS)
def test_no_verb_imports_mxnet_to_read_its_arguments(verb: str) -> None:
    assert "mxnet" not in loaded_by(verb)


@pytest.mark.parametrize("words", [[], ["no-such-verb"], ["run"]])
def test_a_wrong_command_line_ends_with_2(words: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(words)


def test_a_bug_is_printed_with_its_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("yaml.safe_load_all", lambda text: 1 / 0)
    assert main(["run", __file__]) == ExitCode.InternalError
    error = capsys.readouterr().err
    assert "in _find_job" in error
    assert "InternalError: ZeroDivisionError: division by zero" in error
