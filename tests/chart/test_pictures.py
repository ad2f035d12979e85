"""The dashboards as Grafana's own code understands and draws them."""

import copy
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.grafana import boards, draw, programs
from tests.grafana.draw import PICTURES, Picture
from tests.grafana.made_up import SCRAPE_SECONDS, open_metrics
from tests.grafana.made_up.jobs import MINUTES
from tests.grafana.record import Recording, Source, record
from tests.prometheus import Prometheus

pytestmark = pytest.mark.slow  # 435 MB of packages
START = time.time() // 60 * 60 - MINUTES * 60


@pytest.fixture(scope="module")
def recording() -> Iterator[Recording]:
    with Prometheus(history=open_metrics(START)) as prometheus:
        source = Source(prometheus, SCRAPE_SECONDS, end=START + MINUTES * 60 - 60)
        yield record(source, ("team-a", "birds"), hours=6)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    programs.build(folder)
    return folder


def test_grafana_knows_each_unit_and_column(recording: Recording, bundle: Path) -> None:
    started = time.monotonic()
    assert programs.check(recording, bundle) == []
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        pytest.param("unit", "furlongs", "unknown unit furlongs", id="unit"),
        pytest.param("matcher", "Colour", "no column Colour, only ", id="column"),
        pytest.param("link", "${__data.fields.Jobs}", "a link has no ${__data", id="link"),
    ],
)
def test_grafana_complains_of_what_it_does_not_know(
    recording: Recording, bundle: Path, key: str, value: str, complaint: str
) -> None:
    board = copy.deepcopy(boards.load("finetune-fleet"))
    (table,) = (panel for panel in board["panels"] if panel["title"] == "Jobs")
    _spoil(table["fieldConfig"], key, value)
    (found,) = programs.check(recording, bundle, [board])
    assert found.startswith(f"finetune-fleet: Jobs: {complaint}")


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.name)
def test_each_dashboard_is_drawn_without_an_error(
    recording: Recording, bundle: Path, picture: Picture, tmp_path: Path
) -> None:
    file = draw.draw(picture, recording, bundle, tmp_path)
    assert file.stat().st_size < 300_000
    with Image.open(file) as image:
        assert image.size == (picture.width, picture.height)
        below = image.convert("L").crop((0, image.height - 60, *image.size))
        assert below.getextrema()[0] != below.getextrema()[1]  # the last panel is drawn


@pytest.mark.parametrize(
    ("title", "complaint"),
    [
        pytest.param("Reconciles", "Reconciles: no data, and no text for that", id="no data"),
        pytest.param("Queue", "not recorded: max", id="another query"),
    ],
)
def test_a_panel_without_its_data_is_an_error(
    recording: Recording, bundle: Path, tmp_path: Path, title: str, complaint: str
) -> None:
    spoiled = copy.deepcopy(recording)
    answers = spoiled["finetune-operator"]["answers"]["range"]
    (query,) = (one for one in boards.queries("finetune-operator") if one.title == title)
    if title == "Queue":
        del answers[query.expression]
    else:
        answers[query.expression] = []
    with pytest.raises(RuntimeError, match=complaint):
        draw.draw(PICTURES[-1], spoiled, bundle, tmp_path)


def _spoil(config: dict[str, Any], key: str, value: str) -> None:
    if key == "unit":
        config["defaults"]["unit"] = value
    elif key == "matcher":
        config["overrides"].append(
            {"matcher": {"id": "byName", "options": value}, "properties": []}
        )
    else:
        link = {"id": "links", "value": [{"title": "", "url": value}]}
        matcher = {"id": "byName", "options": "Job"}
        config["overrides"].append({"matcher": matcher, "properties": [link]})
