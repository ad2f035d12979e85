"""The watch of FineTuneJobs: where it may start, and what its events queue."""

import asyncio
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from aiohttp import web
from finetune_operator.api import constants as c
from finetune_operator.kube import urls
from finetune_operator.kube.workqueue import WorkQueue
from finetune_operator.observe.cache import Cache, Key
from finetune_operator.observe.kopf_watch import handler, watch_jobs
from finetune_operator.settings import Settings

from tests.cluster.credentials import kubeconfig
from tests.support.api_server import Answer, ApiServer, Body, serving
from tests.support.builders import NAMESPACE, UID, make_job

KEY = (NAMESPACE, "photos")
NAMELESS_USER = 1_000_680_000


SPEC = msgspec.to_builtins(make_job().spec)


class Watch:
    """A watch that delivers what a test says."""

    def __init__(self) -> None:
        self.cache = Cache()
        self.queue: WorkQueue[Key] = WorkQueue()
        self.observed: list[tuple[Key, str]] = []
        self._handle = handler(self.cache, self.queue, self._observe)

    def deliver(
        self, version: str, *, deleted: bool = False, listed: bool = False, **status: Any
    ) -> int:
        """Deliver an event; return how many keys are queued."""
        metadata = {"namespace": NAMESPACE, "name": "photos", "uid": UID}
        body = {"metadata": {**metadata, "resourceVersion": version}, "spec": SPEC}
        self._handle(body | {"status": status}, deleted=deleted, listed=listed)
        return len(self.queue)

    def _observe(self, key: Key, version: str, *, deleted: bool) -> None:
        self.observed.append((key, version))


async def test_new_version_is_queued() -> None:
    watch = Watch()
    assert watch.deliver("7", phase="Training") == 1
    assert watch.cache.jobs[KEY].phase == "Training"


async def test_echo_of_a_write_of_the_operator_queues_nothing_and_the_next_change_does() -> None:
    watch = Watch()
    watch.cache.reconciled[KEY] = "8"
    assert watch.deliver("8", phase="Training") == 0
    assert watch.observed == [(KEY, "8")]  # the watch is not stale
    assert watch.deliver("9", phase="Training") == 1


async def test_event_that_is_older_than_what_was_written_changes_nothing() -> None:
    watch = Watch()
    watch.deliver("8", phase="Training")
    watch.deliver("7", phase="Starting")
    kept = watch.cache.fine_tune_job(KEY)
    assert kept
    assert (kept.metadata.resource_version, kept.status.phase) == ("8", "Training")
    assert watch.cache.jobs[KEY].phase == "Training"


async def test_new_job_comes_before_those_that_a_list_at_the_start_finds() -> None:
    watch = Watch()
    watch.deliver("7", listed=True, startTime="2026-01-01T12:00:00Z")
    watch.queue.add(("team", "changed"))
    assert await watch.queue.get() == ("team", "changed")
    assert await watch.queue.get() == KEY
    watch.queue.done(KEY)
    watch.queue.add(("team", "swept"), patient=True)
    watch.deliver("8", listed=True)
    assert await watch.queue.get() == KEY


async def test_deletion_is_queued_and_leaves_nothing_behind() -> None:
    watch = Watch()
    watch.cache.reconciled[KEY] = watch.cache.unreadable[KEY] = "8"
    assert watch.deliver("8", deleted=True) == 1
    cache = watch.cache
    assert (cache.jobs, cache.reconciled, cache.unreadable) == ({}, {}, {})
    assert cache.fine_tune_job(KEY) is None


async def test_deletion_during_a_write_is_not_undone_by_its_answer() -> None:
    watch = Watch()
    watch.deliver("7", phase="Training")
    watch.cache.writing[KEY] = ""
    watch.deliver("9", deleted=True)
    assert watch.cache.writing[KEY] == "9"
    assert len(watch.queue) == 1


@pytest.mark.parametrize(
    "status",
    [
        {"attempts": "three"},
        {"conditions": {}},
        {"history": [{"reason": "Stalled"}]},
        {"startTime": "yesterday"},
    ],
)
async def test_object_that_cannot_be_decoded_is_observed_and_queued(status: dict[str, Any]) -> None:
    watch = Watch()
    watch.deliver("6", phase="Training")
    watch.queue.done(await watch.queue.get())
    assert watch.deliver("7", **status) == 1
    assert watch.observed[-1] == (KEY, "7")
    assert watch.cache.jobs == {}
    assert watch.cache.fine_tune_job(KEY) is None  # the pass reads it, and reports it


async def test_phase_of_a_newer_operator_is_no_reason_to_stop() -> None:
    watch = Watch()
    watch.deliver("7", phase="Evaluating", attempts=2)
    assert watch.cache.jobs[KEY].attempts == 2


def answer(request: web.Request, _: Body) -> Answer:
    kind = {"name": c.PLURAL, "kind": c.KIND, "namespaced": True, "verbs": ["list", "watch"]}
    version = {"groupVersion": c.API_VERSION, "version": c.VERSION}
    group = {"name": c.GROUP, "versions": [version], "preferredVersion": version}
    answers: dict[str, Body] = {
        urls.GROUPS: {"groups": [group]},
        urls.RESOURCES: {"resources": [kind]},
        f"{urls.RESOURCES}/{c.PLURAL}": {"metadata": {"resourceVersion": "1"}, "items": []},
    }
    return Answer(answers.get(request.path, {"versions": [], "resources": []}))


async def test_watch_starts_as_a_user_without_a_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: NAMELESS_USER)
    ready = asyncio.Event()
    server = ApiServer(answer)
    async with serving(server) as client:
        config = tmp_path / "kubeconfig"
        config.write_text(yaml.safe_dump(kubeconfig(client._api.configuration.host, "token")))
        monkeypatch.setenv("KUBECONFIG", str(config))
        watch = watch_jobs(
            client,
            Cache(),
            WorkQueue(),
            Settings(),
            observe=lambda *_, **__: None,
            ready=ready,
            begin=lambda: asyncio.sleep(0),
        )
        task = asyncio.create_task(watch)
        started = asyncio.create_task(ready.wait())
        await asyncio.wait((task, started), timeout=5, return_when=asyncio.FIRST_COMPLETED)
        assert ready.is_set(), task
        for each in (task, started):
            each.cancel()
        await asyncio.gather(task, started, return_exceptions=True)
