import asyncio
import datetime
from collections.abc import AsyncIterator

import aiohttp
import pytest
from finetune_operator.api import constants as c
from finetune_operator.api.contract import parse_progress

from bench.scale.trainers import Trainers

FIRST, SECOND = "127.129.7.1", "127.129.7.2"
PODS = {
    FIRST: ("0a1b-1", {c.LABEL_JOB_UID: "job-1"}),
    SECOND: ("0a1b-2", {c.LABEL_JOB_UID: "job-2"}),
}


@pytest.fixture
async def trainers() -> AsyncIterator[Trainers]:
    async with Trainers("moving") as made:
        await made.play(PODS)
        yield made


async def ask(session: aiohttp.ClientSession, address: str) -> bytes:
    async with session.get(f"http://{address}:{c.TRAINER_PORT}/progress") as answer:
        assert answer.headers["Date"]
        return await answer.read()


async def test_each_pod_answers_at_its_address_as_the_operator_expects(trainers: Trainers) -> None:
    async with aiohttp.ClientSession() as session:
        for address, (uid, labels) in PODS.items():
            progress = parse_progress(await ask(session, address))
            assert progress
            assert (progress.job.pod_uid, progress.job.uid) == (uid, labels[c.LABEL_JOB_UID])
            assert progress.trainer_status


async def test_one_that_hangs_takes_the_connection_and_does_not_answer(trainers: Trainers) -> None:
    trainers.hanging.add(FIRST)
    timeout = aiohttp.ClientTimeout(total=0.3)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        with pytest.raises(TimeoutError):
            await ask(session, FIRST)
        assert await ask(session, SECOND)


async def test_one_that_is_still_says_the_same_for_ever() -> None:
    async with Trainers("still") as still, aiohttp.ClientSession() as session:
        await still.play(PODS)
        first = parse_progress(await ask(session, FIRST))
        await asyncio.sleep(1.1)
        assert parse_progress(await ask(session, FIRST)) == first
    assert first
    assert first.trainer_status
    assert first.trainer_status.last_updated_time
    assert datetime.datetime.fromisoformat(first.trainer_status.last_updated_time)
