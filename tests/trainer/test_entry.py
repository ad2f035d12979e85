"""The two ways in: the command that pip installs, and `python -m`, which is process 1 of a pod."""

import os
import signal
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

from tests.trainer.support.pods import wait_until

PROJECT = tomllib.loads(Path("trainer/pyproject.toml").read_text())["project"]
# What pip writes into venv/bin, but for its first line.
SCRIPT = "import sys; from {module} import {attr}; sys.exit({attr}())"


def installed_command(name: str) -> list[str]:
    """Return what the script that pip installs under this name runs."""
    entry = EntryPoint(name=name, value=PROJECT["scripts"][name], group="console_scripts")
    return [sys.executable, "-c", SCRIPT.format(module=entry.module, attr=entry.attr)]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}


def test_the_installed_command_starts() -> None:
    command = [*installed_command("finetune-trainer"), "--help"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "usage: finetune-trainer" in done.stdout


def test_the_installed_command_hands_on_the_exit_code() -> None:
    command = [*installed_command("finetune-trainer"), "run", "nowhere.yaml"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 66
    assert "nowhere.yaml" in done.stderr


def test_sigterm_ends_the_command_while_its_imports_are_read(tmp_path: Path) -> None:
    """The first import of the command hangs here: the handler must be set before it."""
    (tmp_path / "argparse.py").write_text("import time\nopen('reached', 'w')\ntime.sleep(60)\n")
    path = os.pathsep.join([str(tmp_path), *sys.path])
    module = [sys.executable, "-m", "finetune_trainer", "--help"]
    for command in (module, [*installed_command("finetune-trainer"), "--help"]):
        (tmp_path / "reached").unlink(missing_ok=True)
        environment = os.environ | {"PYTHONPATH": path}
        with subprocess.Popen(command, cwd=tmp_path, env=environment) as process:
            try:
                wait_until((tmp_path / "reached").exists)
                process.send_signal(signal.SIGTERM)
                assert process.wait(timeout=10) == 128 + signal.SIGTERM
            finally:
                process.kill()
