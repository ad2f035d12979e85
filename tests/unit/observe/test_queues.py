"""Kueue's Workloads are read where there is Kueue and a Job that it holds, and nowhere else."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest
from aiohttp import web
from finetune_operator.api.kubernetes import Workload
from finetune_operator.kube.workqueue import WorkQueue
from finetune_operator.observe import queues
from finetune_operator.observe.cache import Cache, Key
from finetune_operator.observe.queues import QueueReader

from tests.support.api_server import Answer, ApiServer, Body, serving
from tests.support.builders import NAMESPACE, make_attempt, make_workload

GROUP = "/apis/kueue.x-k8s.io"
LIST = f"{GROUP}/v1beta2/namespaces/{NAMESPACE}/workloads"
KEY = (NAMESPACE, "photos")


class Kueue:
    """The Workloads of a namespace, behind HTTP; `fail` is the status of each answer."""

    def __init__(self) -> None:
        self.server = ApiServer(self._answer)
        self.workloads: list[Workload] = [make_workload("Pending", "why")]
        self.unreadable: list[Body] = []
        self.fail = 0
        self.forbidden = ""  # a namespace
        self.cache = Cache()
        self.queue: WorkQueue[Key] = WorkQueue()

    @property
    def asked(self) -> list[str]:
        return [path for _, path, _ in self.server.requests]

    def _answer(self, request: web.Request, body: Body) -> Answer:
        if self.fail:
            return Answer({"message": "no"}, status=self.fail)
        if self.forbidden and f"/{self.forbidden}/" in request.path:
            return Answer({"message": "no"}, status=403)
        if request.path == GROUP:
            return Answer({"preferredVersion": {"groupVersion": "x", "version": "v1beta2"}})
        items = [*self.unreadable, *msgspec.to_builtins(self.workloads)]
        return Answer({"metadata": {}, "items": items})


@pytest.fixture
def kueue() -> Kueue:
    return Kueue()


@pytest.fixture
async def reader(kueue: Kueue) -> AsyncIterator[QueueReader]:
    async with serving(kueue.server) as client:
        yield QueueReader(client, kueue.cache, kueue.queue)


async def test_cause_of_a_held_job_is_read_and_its_job_queued(
    kueue: Kueue, reader: QueueReader
) -> None:
    kueue.cache.observe_attempt(make_attempt(1, suspended=True).job)
    await reader.read()
    assert kueue.asked == [GROUP, LIST]
    assert kueue.server.requests[-1][2]["labelSelector"] == "kueue.x-k8s.io/job-uid"
    assert kueue.cache.workloads == {"attempt-1": kueue.workloads[0]}
    assert await kueue.queue.get() == KEY
    kueue.queue.done(KEY)


async def test_job_is_queued_again_only_when_its_cause_changes(
    kueue: Kueue, reader: QueueReader
) -> None:
    kueue.cache.observe_attempt(make_attempt(1, suspended=True).job)
    for _ in range(3):
        await reader.read()
    assert kueue.asked == [GROUP, LIST, LIST, LIST]
    kueue.queue.done(await kueue.queue.get())
    assert len(kueue.queue) == 0
    kueue.workloads = [make_workload("Pending", "why", active=False)]
    await reader.read()
    assert len(kueue.queue) == 1


@pytest.mark.parametrize(
    "job",
    [
        make_attempt(1).job,
        make_attempt(1, suspended=True, ended="Failed").job,
        make_attempt(1, suspended=True, deleting=True).job,
    ],
    ids=["runs", "ended", "is being deleted"],
)
async def test_nothing_is_asked_for_a_job_that_no_queue_holds(
    kueue: Kueue, reader: QueueReader, job: object
) -> None:
    kueue.cache.observe_attempt(job)  # type: ignore[arg-type]
    await reader.read()
    assert kueue.asked == []


async def test_cause_is_forgotten_when_the_job_is_admitted(
    kueue: Kueue, reader: QueueReader
) -> None:
    kueue.cache.observe_attempt(make_attempt(1, suspended=True).job)
    await reader.read()
    kueue.cache.observe_attempt(make_attempt(1).job)
    await reader.read()
    assert kueue.cache.workloads == {}


async def test_workload_of_another_owner_is_nobodys(kueue: Kueue, reader: QueueReader) -> None:
    kueue.cache.observe_attempt(make_attempt(1, suspended=True).job)
    forged = make_workload("Pending", "why")
    metadata = msgspec.structs.replace(forged.metadata, owner_references=())
    kueue.workloads = [msgspec.structs.replace(forged, metadata=metadata)]
    await reader.read()
    assert kueue.cache.workloads == {}


async def test_namespace_that_must_not_be_read_harms_no_other(
    kueue: Kueue, reader: QueueReader
) -> None:
    job = make_attempt(1, suspended=True).job
    metadata = msgspec.structs.replace(job.metadata, namespace="a-team", uid="attempt-9")
    kueue.cache.observe_attempt(msgspec.structs.replace(job, metadata=metadata))
    kueue.cache.observe_attempt(job)
    kueue.forbidden = "a-team"
    for _ in range(2):
        await reader.read()
    assert kueue.asked == [GROUP, LIST.replace(NAMESPACE, "a-team"), LIST, LIST]
    assert kueue.cache.workloads.keys() == {"attempt-1"}


@pytest.mark.parametrize("status", [404, 403], ids=["no Kueue", "no rights"])
async def test_cluster_that_has_nothing_to_read_is_asked_once(
    kueue: Kueue, reader: QueueReader, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    kueue.cache.observe_attempt(make_attempt(1, suspended=True).job)
    kueue.fail = status
    for _ in range(3):
        await reader.read()
    assert kueue.asked == [GROUP]
    kueue.fail, later = 0, asyncio.get_running_loop().time() + queues.WITHOUT_KUEUE_SECONDS
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: later)
    await reader.read()
    assert kueue.asked == [GROUP, GROUP, LIST]


async def test_server_that_does_not_answer_is_asked_again(
    kueue: Kueue, reader: QueueReader
) -> None:
    kueue.cache.observe_attempt(make_attempt(1, suspended=True).job)
    kueue.fail = 503
    await reader.read()
    kueue.fail = 0
    await reader.read()
    assert kueue.asked == [GROUP, GROUP, LIST]


async def test_workload_that_cannot_be_read_hides_no_other(
    kueue: Kueue, reader: QueueReader
) -> None:
    kueue.cache.observe_attempt(make_attempt(1, suspended=True).job)
    kueue.unreadable = [{"metadata": {"name": "a"}, "spec": {"active": "perhaps"}}]
    await reader.read()
    assert [*kueue.cache.workloads] == ["attempt-1"]
