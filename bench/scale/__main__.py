"""Many FineTuneJobs at once on a real control plane, beside plain Jobs and beside the very Jobs
that the operator makes, created without it. Run from the root of the checkout:

    python -m bench.scale [--jobs 100 1000] [--out DIRECTORY/NAME]

Each row has a control plane of its own: etcd, kube-apiserver, kube-controller-manager and
kube-scheduler, whose clients are not throttled, and KWOK in the place of nodes.
"""

import argparse
import asyncio
import os
from pathlib import Path

import msgspec

from bench.scale import results, work
from bench.scale.run import run
from tests.cluster import programs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--out", type=Path, help="write NAME.json and NAME.md")
    arguments = parser.parse_args()
    programs.ensure(programs.KUBERNETES)
    os.environ["PATH"] = f"{programs.KUBERNETES.directory}:{os.environ['PATH']}"
    about, rows = results.about(), []
    for jobs in arguments.jobs:
        for each in work.ALL:
            rows.append(asyncio.run(run(each, jobs)))
            text = msgspec.json.encode({**about, "rows": rows})
            if arguments.out:
                arguments.out.with_suffix(".json").write_bytes(msgspec.json.format(text) + b"\n")
                arguments.out.with_suffix(".md").write_text(results.markdown(about, rows))
            print(msgspec.json.encode(rows[-1]).decode(), flush=True)
    print("\n" + results.markdown(about, rows))


if __name__ == "__main__":
    main()
