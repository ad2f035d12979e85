"""The Grafana dashboards (Grafana 10 or later): Fleet, Job and Operator.

Their PromQL is in queries/, their look in style.py and tables.py.
"""

import json
from pathlib import Path

from deploy.render.dashboards import fleet, job, operator
from deploy.render.dashboards.board import FLEET, JOB, OPERATOR

ROOT = Path(__file__).parents[3]
FOLDERS = (ROOT / "deploy/grafana", ROOT / "charts/finetune-operator/files/dashboards")
RENDERERS = {FLEET: fleet.render, JOB: job.render, OPERATOR: operator.render}
PLACES = tuple(folder / f"{uid}.json" for folder in FOLDERS for uid in RENDERERS)


def render(uid: str) -> str:
    """A dashboard as JSON."""
    return json.dumps(RENDERERS[uid](), indent=2, sort_keys=True) + "\n"


def main() -> None:
    """Write the dashboards into their places."""
    for place in PLACES:
        place.parent.mkdir(exist_ok=True)
        place.write_text(render(place.stem))
