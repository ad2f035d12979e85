"""The poller against real HTTP servers: each pod on its own loopback address, port 8080."""

import asyncio
import datetime
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from aiohttp import web
from finetune_operator.api.kubernetes import Pod
from finetune_operator.kube.workqueue import WorkQueue
from finetune_operator.observe.cache import Cache, Key
from finetune_operator.observe.poller import TIMEOUT_SECONDS, Poller

from tests.support.builders import NOW, UID, later, make_attempt, make_pod, make_progress

KEY = ("team", "photos")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
ADDRESSES = iter(f"127.83.{host // 250}.{host % 250 + 1}" for host in range(1000))


def body(pod: str, percent: int = 50, **fields: Any) -> dict[str, Any]:
    ids = {"uid": UID, "attempt": 1, "podUid": pod}
    status = {"progressPercentage": percent, "metrics": []}
    return {"job": ids, "stage": "fit", "trainerStatus": status, **fields}


def answering(*bodies: Any) -> Handler:
    """Answer with one after the other, the last for ever."""
    left = list(bodies)

    async def handle(request: web.Request) -> web.Response:
        answer = left.pop(0) if len(left) > 1 else left[0]
        return answer if isinstance(answer, web.Response) else web.json_response(answer)

    return handle


class Polling:
    """A poller, and the pods that it asks."""

    def __init__(self) -> None:
        self.cache = Cache()
        self.queue: WorkQueue[Key] = WorkQueue()
        self.cache.observe_attempt(make_attempt(1).job)
        self.start()

    def start(self, **limits: Any) -> None:
        """Poll; `prompt` and `slow`: how many pods of each kind are asked at the same time."""
        poller = Poller(self.cache, self.queue, interval_seconds=0.1, **limits)
        self._task = asyncio.create_task(poller.run())

    @asynccontextmanager
    async def serving(self, handler: Handler) -> AsyncIterator[str]:
        """Serve on an address of its own; no poll is under way when it closes."""
        app = web.Application()
        app.router.add_get("/progress", handler)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        address = next(ADDRESSES)
        await web.TCPSite(runner, address, 8080).start()
        try:
            yield address
        finally:
            await self.stop()
            await runner.cleanup()

    def add_pod(self, address: str, uid: str = "pod-1") -> Pod:
        pod = make_pod(uid=uid, pod_ip=address)
        self.cache.observe_pod(pod)
        return pod

    async def until(self, found: Callable[[], Any], *, seconds: float = 5) -> None:
        async with asyncio.timeout(seconds):
            while not found():  # noqa: ASYNC110 - a test that polls
                await asyncio.sleep(0.02)

    async def stop(self) -> None:
        """Stop it; it must not have ended by itself."""
        assert self._task.cancelled() or not self._task.done(), self._task
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await asyncio.sleep(0.02)  # its connections are closed in the background


@pytest.fixture
async def polling() -> AsyncIterator[Polling]:
    polling = Polling()
    yield polling
    await polling.stop()


async def test_progress_of_a_running_pod_is_kept_and_its_job_is_queued(polling: Polling) -> None:
    async with polling.serving(answering(body("pod-1", step=7))) as address:
        polling.add_pod(address)
        assert await asyncio.wait_for(polling.queue.get(), 5) == KEY
        assert polling.cache.progress["pod-1"].step == 7


async def test_pod_with_an_ipv6_address_is_polled(polling: Polling) -> None:
    async with polling.serving(answering(body("pod-1"))) as address:
        polling.add_pod(f"::ffff:{address}")
        await polling.until(lambda: "pod-1" in polling.cache.progress)


@pytest.mark.parametrize(
    ("date", "sent"),
    [
        ("Thu, 01 Jan 2026 12:00:00 GMT", NOW),
        ("Thu, 01 Jan 99999999999999999999 12:00:00 GMT", None),
        ("now", None),
    ],
)
async def test_progress_has_the_time_it_was_read_and_the_pods_own_time(
    polling: Polling, date: str, sent: object
) -> None:
    lie = {**body("pod-1"), "readAt": "2000-01-01T00:00:00Z", "sentAt": "2000-01-01T00:00:00Z"}
    response = web.json_response(lie, headers={"Date": date})
    async with polling.serving(answering(response)) as address:
        polling.add_pod(address)
        await polling.until(lambda: "pod-1" in polling.cache.progress)
        progress = polling.cache.progress["pod-1"]
        assert progress.read_at
        assert abs(progress.read_at - datetime.datetime.now(datetime.UTC)) < later(10) - NOW
        assert progress.sent_at == sent


async def test_progress_that_moves_queues_the_job_again_and_steps_alone_do_not(
    polling: Polling,
) -> None:
    answers = [body("pod-1", 1), body("pod-1", 1, step=99), body("pod-1", 2)]
    async with polling.serving(answering(*answers)) as address:
        polling.add_pod(address)
        shown = []
        for _ in range(2):
            key = await asyncio.wait_for(polling.queue.get(), 5)
            status = polling.cache.progress["pod-1"].trainer_status
            assert status
            shown.append(status.progress_percentage)
            polling.queue.done(key)
        assert shown == [1, 2]
        await asyncio.sleep(0.4)
        assert len(polling.queue) == 0


async def test_figures_alone_queue_a_job_in_its_turn_and_all_else_at_once(
    polling: Polling,
) -> None:
    await polling.stop()
    polling.start(figures_per_second=0.01)
    moving = [body("pod-1", percent) for percent in range(10)]
    saved = body("pod-1", 11, checkpoint={"epoch": 1})
    async with polling.serving(answering(*moving, saved)) as address:
        polling.add_pod(address)
        for _ in range(2):
            key = await asyncio.wait_for(polling.queue.get(), 5)
            polling.queue.done(key)
        progress = polling.cache.progress["pod-1"]
        assert progress.checkpoint
        assert progress.checkpoint.epoch == 1
        await asyncio.sleep(0.3)
        assert len(polling.queue) == 0


WRONG_JOB = body("pod-1")
WRONG_JOB["job"]["uid"] = "another"
HUGE = {**body("pod-1"), "logTail": ["x" * 70_000]}


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(body("pod-of-another-time"), id="wrong pod: its address is reused"),
        pytest.param(WRONG_JOB, id="wrong job"),
        pytest.param(HUGE, id="more than 64 KiB"),
        pytest.param(web.Response(body=b"x" * 10_000_000), id="a flood"),
        pytest.param(web.Response(text='{"a":' + "[" * 50_000), id="nested for ever"),
        pytest.param(web.Response(body=b"\xff\xfe"), id="no text"),
        pytest.param(web.json_response([]), id="no object"),
        pytest.param(
            web.Response(status=302, headers={"Location": "http://127.0.0.1:1/"}),
            id="elsewhere",
        ),
        pytest.param(
            web.Response(body=b"junk", headers={"Content-Encoding": "gzip"}), id="not gzip"
        ),
    ],
)
async def test_answer_is_not_believed(polling: Polling, answer: Any) -> None:
    asked = asyncio.Event()

    async def handle(request: web.Request) -> web.StreamResponse:
        asked.set()
        if isinstance(answer, web.Response):
            return web.Response(
                body=answer.body,  # a response can be sent once
                status=answer.status,
                headers={k: v for k, v in answer.headers.items() if k != "Content-Length"},
            )
        return web.json_response(answer)

    async with (
        polling.serving(handle) as address,
        polling.serving(answering(body("pod-2"))) as good,
    ):
        polling.add_pod(address)
        polling.add_pod(good, "pod-2")
        await asyncio.wait_for(asked.wait(), 5)
        await polling.until(lambda: "pod-2" in polling.cache.progress)
        await asyncio.sleep(0.2)
        assert polling.cache.progress.keys() == {"pod-2"}


async def test_pod_that_hangs_holds_up_no_other(polling: Polling) -> None:
    async def hang(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(30)
        raise AssertionError

    async with polling.serving(hang) as bad, polling.serving(answering(body("pod-2"))) as good:
        polling.add_pod(bad)
        polling.add_pod("127.83.255.1", "refuses")
        polling.add_pod(good, "pod-2")
        await polling.until(lambda: "pod-2" in polling.cache.progress, seconds=1.5)


async def test_many_pods_that_swallow_polls_delay_no_other(
    polling: Polling,
) -> None:
    """As where a NetworkPolicy or a mesh drops the operator's requests in other namespaces."""
    await polling.stop()
    polling.start(prompt=8, slow=2)
    asked: list[float] = []

    async def swallow(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(30)
        raise AssertionError

    async def answer(request: web.Request) -> web.Response:
        asked.append(asyncio.get_running_loop().time())
        return web.json_response(body("good", len(asked)))

    async with polling.serving(swallow) as bad, polling.serving(answer) as good:
        for number in range(16):  # twice as many as are asked at the same time
            polling.add_pod(bad, f"bad-{number}")
        polling.add_pod(good, "good")
        await polling.until(lambda: len(asked) >= 4, seconds=9)
        gaps = [later - sooner for sooner, later in pairwise(asked)]
        assert max(gaps) < TIMEOUT_SECONDS


async def test_answer_in_parts_is_put_together(polling: Polling) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for byte in json.dumps(body("pod-1")).encode():
            await response.write(bytes([byte]))
        return response

    async with polling.serving(handle) as address:
        polling.add_pod(address)
        await polling.until(lambda: "pod-1" in polling.cache.progress)


async def test_answer_that_came_when_its_pod_was_deleted_is_forgotten(polling: Polling) -> None:
    polling.cache.progress["gone"] = make_progress()
    await polling.until(lambda: not polling.cache.progress)


async def test_pod_that_ended_is_forgotten_and_asked_no_more(polling: Polling) -> None:
    asked = []

    async def handle(request: web.Request) -> web.StreamResponse:
        asked.append(1)
        return web.json_response(body("pod-1"))

    async with polling.serving(handle) as address:
        pod = polling.add_pod(address)
        await polling.until(lambda: "pod-1" in polling.cache.progress)
        ended = msgspec.structs.replace(pod.status, phase="Succeeded")
        polling.cache.observe_pod(msgspec.structs.replace(pod, status=ended))
        await asyncio.sleep(0.3)
        count = len(asked)
        await asyncio.sleep(0.3)
        assert len(asked) == count
        assert polling.cache.progress == {}


async def test_job_whose_trainer_only_counts_images_is_not_queued(polling: Polling) -> None:
    def figures(second: int, percent: int = 50) -> dict[str, Any]:
        speed = {"name": "images-per-second", "value": f"{200 + second}"}
        status = {"progressPercentage": percent, "metrics": [speed]}
        time = later(second).isoformat()
        return body("pod-1", step=second, trainerStatus={**status, "lastUpdatedTime": time})

    reports = [figures(0), *(figures(second) for second in range(1, 8)), figures(9, percent=51)]
    async with polling.serving(answering(*reports)) as address:
        polling.add_pod(address)
        polling.queue.done(await asyncio.wait_for(polling.queue.get(), 5))
        polling.queue.done(await asyncio.wait_for(polling.queue.get(), 5))
        assert polling.cache.progress["pod-1"].step == 9


async def test_pod_that_stops_answering_is_unreachable_after_a_while(polling: Polling) -> None:
    answers = answering(body("pod-1"), web.Response(status=500))
    async with polling.serving(answers) as address:
        polling.add_pod(address)
        await polling.until(lambda: "pod-1" in polling.cache.progress)
        polling.queue.done(await polling.queue.get())
        await polling.until(lambda: "pod-1" not in polling.cache.progress)
        assert await asyncio.wait_for(polling.queue.get(), 5) == KEY
        assert polling.cache.unreachable == {"pod-1"}


async def test_pod_that_answers_again_is_reachable_again(polling: Polling) -> None:
    async with polling.serving(answering(body("pod-1"))) as address:
        polling.cache.unreachable.add("pod-1")
        polling.add_pod(address)
        await polling.until(lambda: not polling.cache.unreachable)
