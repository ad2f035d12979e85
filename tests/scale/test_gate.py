"""FineTuneJobs cost no more than was recorded: in requests, which are counted, and in CPU beside
that of the same Jobs without an operator. A small bench/scale: KWOK is in the place of nodes.
"""

from pathlib import Path
from statistics import median

import pytest

from bench.scale import work
from bench.scale.bench import Setup, running
from bench.scale.checkout import Checkout
from bench.scale.figures import REQUESTS, TOGETHER
from bench.scale.scenarios.burst import once
from bench.scale.scenarios.one import one
from tests.scale import recorded

JOBS = 300
TIMES = 3
HERE = Checkout(Path())

pytestmark = pytest.mark.timeout(600)


async def test_one_job_alone_takes_the_recorded_requests(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    setup = Setup(pods=TIMES, audit_log=log)
    async with running(work.fine_tune_jobs(HERE), setup) as bench:
        counts = [await one(bench, log) for _ in range(TIMES)]
    assert all(each["operator: create jobs"] == 1 for each in counts)
    typical = {key: median([each[key] for each in counts]) for key in set().union(*counts)}
    own = {
        key: number for key, number in typical.items() if key.startswith("operator: ") and number
    }
    most = {f"operator: {what}": number for what, number in recorded.ONE_ALONE.items()}
    assert {key: number for key, number in own.items() if number > most.get(key, 0)} == {}
    assert sum(typical.values()) <= recorded.ALL_CLIENTS, typical


async def test_a_burst_costs_no_more_beside_the_same_jobs_than_recorded() -> None:
    rows = []
    for kind in (work.same(HERE), work.fine_tune_jobs(HERE)):
        async with running(kind, Setup(pods=JOBS)) as bench:
            rows.append(await once(bench, JOBS))
    same, ours = (row.figures for row in rows)
    assert ours["results lost"] == 0
    assert ours[REQUESTS] <= recorded.IN_A_BURST, rows[1].requests
    assert ours[TOGETHER] / same[TOGETHER] <= recorded.CPU_OF_THE_SAME_JOBS, rows
