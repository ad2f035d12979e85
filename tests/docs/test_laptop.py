"""The pages' commands for a laptop work as they stand: from the wheel, in the order of the pages.

Nothing here imports the trainer, and what runs has no PYTHONPATH.
"""

import json
import re
from collections.abc import Iterator

import pytest

from tests.docs.laptop import Laptop, laptop
from tests.docs.pages import Command, commands_of, pages
from tests.docs.places import Place, place_of

pytestmark = pytest.mark.timeout(900)


def commands_at(place: Place, page: str) -> list[Command]:
    """Return the commands of the page that are run there."""
    return [command for command in commands_of(page) if place_of(command) == place]


FIRST, *OTHERS = [page for page in pages() if commands_at("laptop", page)]
SLOW = [page for page in pages() if commands_at("slow laptop", page)]


@pytest.fixture(scope="module")
def printed() -> dict[str, str]:
    """What the README's commands have printed."""
    return {}


@pytest.fixture(scope="module")
def trained(printed: dict[str, str]) -> Iterator[Laptop]:
    """A laptop on which the README was followed."""
    with laptop() as made:
        for command in commands_at("laptop", FIRST):
            printed[command.text] = made.run(explained(command))
        yield made


def explained(command: Command) -> Command:
    """Ask for the help of a command that a page only names."""
    words = command.text.split()
    is_named_only = len(words) == 2 and words[1] not in ("models", "schema")
    return (
        Command(command.page, command.line, f"{command.text} --help") if is_named_only else command
    )


def test_the_readme_installs_the_trainer_and_trains_the_sample(
    trained: Laptop, printed: dict[str, str]
) -> None:
    assert FIRST == "README.md"
    (text,) = [text for command, text in printed.items() if " run " in command]
    accuracy = re.search(r"^accuracy (0\.\d+)$", text, re.MULTILINE)
    assert accuracy
    assert float(accuracy[1]) >= 0.83
    model = trained.directory / trained.model
    assert json.loads((model / "metrics.json").read_text())["accuracy"] == float(accuracy[1])
    assert (model / "report.html").is_file()


def test_the_trainer_is_the_wheel(trained: Laptop) -> None:
    where = "python -c 'import finetune_trainer; print(finetune_trainer.__file__)'"
    found = trained.run(Command("", 0, f"venv/bin/{where}"))
    assert found.startswith(f"{trained.directory}/venv/lib/python3.11/site-packages/")


@pytest.mark.parametrize("page", OTHERS)
def test_the_commands_of_a_page_work(trained: Laptop, page: str) -> None:
    for command in commands_at("laptop", page):
        assert trained.run(explained(command)).strip()


def test_the_model_card_says_how_to_predict(trained: Laptop) -> None:
    """Its own command, in the folder of the model."""
    card = (trained.directory / trained.model / "README.md").read_text()
    (text,) = re.findall(r"^ *(finetune-trainer predict .*)$", card, re.MULTILINE)
    command = text.replace("photo.jpg", str(trained.directory / "photo.jpg"))
    assert "bird" in trained.run(Command("README.md", 0, f"cd {trained.model} && {command}"))


@pytest.mark.slow
@pytest.mark.parametrize("page", SLOW)
def test_the_slow_commands_of_a_page_work(trained: Laptop, page: str) -> None:
    for command in commands_at("slow laptop", page):
        assert trained.run(command).strip()
