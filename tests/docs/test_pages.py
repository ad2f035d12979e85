"""Each command of the pages is run as a user would, or stands on a list with the reason."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, Command, commands_in, commands_of, pages, unmarked
from tests.docs.places import EXCEPTIONS, NOT_RUN, is_listed, place_of, reason_of

COMMANDS = [command for page in pages() for command in commands_of(page)]


def unexplained(commands: list[Command]) -> list[str]:
    """Return the commands that no test runs and no reason excuses."""
    return [str(each) for each in commands if not place_of(each) and not reason_of(each)]


def test_each_command_is_run_or_it_is_said_why_not() -> None:
    assert len(COMMANDS) > 50
    assert not unexplained(COMMANDS)


@pytest.mark.parametrize(
    "text",
    [
        "```sh\nmake nothing\n```\n",
        "```console\n$ make nothing\nmade\n```\n",
        "```sh\nmake help\n\nmake \\\n  nothing   # of it\n```\n",
        "Say `make nothing` to make nothing.\n",
    ],
)
def test_a_new_command_is_found(text: str) -> None:
    assert len(unexplained(commands_in(text, page="README.md"))) == 1


@pytest.mark.parametrize(
    "text", ["```\nmake nothing\n```\n", "```text\n$ make\n```\n", "So:\n\n    make nothing\n"]
)
def test_a_block_of_commands_that_does_not_say_so_is_found(text: str) -> None:
    assert unmarked(text)


def test_blocks_of_commands_say_that_they_are() -> None:
    pages_with = {page: unmarked((ROOT / page).read_text()) for page in pages()[:-1]}
    assert {page: lines for page, lines in pages_with.items() if lines} == {}


def test_the_lists_name_commands_of_the_pages_only() -> None:
    listed = [*NOT_RUN, *EXCEPTIONS]
    assert [x for x in listed if not any(is_listed(x, command) for command in COMMANDS)] == []


def test_files_that_the_list_names_are_there() -> None:
    named = re.findall(r"tests/[\w/]+(?:\.py)?", " ".join(NOT_RUN.values()))
    assert len(named) > 3
    assert all((ROOT / name).exists() for name in named)


@pytest.mark.parametrize("text", sorted({x.text for x in COMMANDS if x.program == "make"}))
def test_the_makefile_has_the_target(text: str) -> None:
    command = ["make", "--dry-run", *shlex.split(text)[1:]]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_modules_that_are_to_be_run_are_there() -> None:
    modules = {x.text.split()[2] for x in COMMANDS if x.text.startswith("python -m ")}
    assert modules
    paths = [ROOT / module.replace(".", "/") for module in modules]
    assert all(x.with_suffix(".py").is_file() or (x / "__main__.py").is_file() for x in paths)


def test_debian_packages_of_the_readme_are_those_that_make_installs() -> None:
    makefile = Path(ROOT / "Makefile").read_text()
    (command,) = [x for x in commands_of("README.md") if x.program == "apt-get"]
    packages = command.text.split()[2:]
    assert len(packages) == 3
    assert [package for package in packages if package not in makefile] == []


def test_the_picture_of_the_readme_loads_at_once() -> None:
    pictures = re.findall(r"!\[.*\]\((\S+)\)", (ROOT / "README.md").read_text())
    assert pictures
    assert all((ROOT / picture).stat().st_size < 150_000 for picture in pictures)


@pytest.mark.parametrize("text", [x.text for x in COMMANDS if place_of(x) == "here"])
def test_commands_of_the_checkout_work(text: str) -> None:
    done = subprocess.run(["bash", "-c", text], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_make_help_lists_each_target_that_says_what_it_does() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^([^\s:=]+):[^=\n]*## ", makefile, re.MULTILINE)
    shown = subprocess.run(["make", "help"], cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
    listed = [line.split()[0] for line in shown.decode().splitlines()]
    assert "e2e" in targets
    assert [target for target in targets if target not in listed] == []
