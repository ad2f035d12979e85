"""Records and draws the dashboards: python -m tests.grafana record|draw --help."""

import argparse
import gzip
import json
import tempfile
import time
from pathlib import Path

from tests.grafana import draw, programs
from tests.grafana.record import Source, record, save
from tests.prometheus import PrometheusApi


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.grafana", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    recorder = commands.add_parser("record", help="record a Prometheus' answers")
    recorder.add_argument("--prometheus", required=True, metavar="URL")
    recorder.add_argument("--job", required=True, metavar="NAMESPACE/NAME")
    recorder.add_argument("--hours", type=float, default=6, help="before the end; 6")
    recorder.add_argument("--end", type=float, default=time.time(), help="a Unix time; now")
    recorder.add_argument("--scrape-seconds", type=int, default=30, metavar="SECONDS")
    recorder.add_argument("--out", type=Path, required=True, metavar="FILE.json.gz")
    drawer = commands.add_parser(
        "draw", help="draw each dashboard, wide and narrow, dark and light"
    )
    drawer.add_argument("recording", type=Path, metavar="FILE.json.gz")
    drawer.add_argument("--into", type=Path, required=True, metavar="FOLDER")
    options = parser.parse_args()
    if options.command == "record":
        namespace, _, name = options.job.partition("/")
        source = Source(PrometheusApi(options.prometheus), options.scrape_seconds, options.end)
        answers = record(source, (namespace, name), hours=options.hours)
        save(answers, options.out)
    else:
        with gzip.open(options.recording, "rt") as file:
            _draw(json.load(file), options.into)


def _draw(recording: dict[str, object], into: Path) -> None:
    into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        programs.build(Path(name))
        for picture in draw.PICTURES:
            file = draw.draw(picture, recording, Path(name), into)
            print(f"{file}: {file.stat().st_size / 1000:.0f} kB")


main()
