"""What a program can select the operator's log by."""

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from finetune_operator.kube.workqueue import WorkQueue
from finetune_operator.logs import JsonFormatter
from finetune_operator.metrics import Metrics
from finetune_operator.observe.cache import Key
from finetune_operator.reconcile import Reconciler
from finetune_operator.workers import Workers

from tests.support.builders import make_job, make_status
from tests.support.scripted_cluster import KEY, ScriptedCluster

Line = dict[str, Any]


class Log:
    def __init__(self) -> None:
        self.text = io.StringIO()

    def lines(self, part: str) -> list[Line]:
        """What the lines whose message has this part say of a job."""
        lines = [json.loads(line) for line in self.text.getvalue().splitlines()]
        return [
            {field: line[field] for field in ("job", "attempt", "phase") if field in line}
            for line in lines
            if part in line["message"]
        ]


@pytest.fixture
def log() -> Iterator[Log]:
    log, logger = Log(), logging.getLogger("finetune_operator")
    handler = logging.StreamHandler(log.text)
    handler.setFormatter(JsonFormatter())
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield log
    logger.removeHandler(handler)
    logger.setLevel(level)


async def test_line_about_a_job_has_its_name_attempt_and_phase_as_fields(
    reconcile: Reconciler, log: Log
) -> None:
    await reconcile(KEY)
    assert log.lines("Starting") == [{"job": "team/photos", "attempt": 1, "phase": "Starting"}]


async def test_line_about_a_failed_pass_has_them_too(
    cluster: ScriptedCluster, reconcile: Reconciler, log: Log
) -> None:
    cluster.put(make_job(make_status(attempts=3, phase="Pending")))
    cluster.fail["PATCH status"] = 500
    queue: WorkQueue[Key] = WorkQueue()
    workers = Workers(queue, reconcile, Metrics(cluster.cache).process)
    queue.add(KEY)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await workers.run(1)
    (line, *_) = log.lines("again in")
    assert line == {"job": "team/photos", "attempt": 3, "phase": "Pending"}


def test_line_about_no_job_has_none_of_them(log: Log) -> None:
    logging.getLogger("finetune_operator.kube").info("elected")
    assert log.lines("elected") == [{}]


def test_traceback_has_a_field_of_its_own(log: Log) -> None:
    try:
        raise ValueError("a bug")
    except ValueError:
        logging.getLogger("finetune_operator").exception("It failed.")
    line = json.loads(log.text.getvalue())
    assert (line["level"], line["message"]) == ("ERROR", "It failed.")
    assert line["traceback"].endswith("ValueError: a bug")
