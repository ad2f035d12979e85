"""What an event of the watch of FineTuneJobs queues."""

from typing import Any

import pytest
from finetune_operator.kube.workqueue import WorkQueue
from finetune_operator.observe.cache import Cache, Key
from finetune_operator.observe.kopf_watch import handler

from tests.support.builders import NAMESPACE, UID

KEY = (NAMESPACE, "photos")


class Watch:
    """A watch that delivers what a test says."""

    def __init__(self) -> None:
        self.cache = Cache()
        self.queue: WorkQueue[Key] = WorkQueue()
        self.observed: list[tuple[Key, str]] = []
        self._handle = handler(self.cache, self.queue, self._observe)

    def deliver(self, version: str, *, deleted: bool = False, **status: Any) -> int:
        """Deliver an event; return how many keys are queued."""
        metadata = {"namespace": NAMESPACE, "name": "photos", "uid": UID}
        body = {"metadata": {**metadata, "resourceVersion": version}, "status": status}
        self._handle(body, deleted=deleted)
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


async def test_deletion_is_queued_and_leaves_nothing_behind() -> None:
    watch = Watch()
    watch.cache.reconciled[KEY] = watch.cache.unreadable[KEY] = "8"
    assert watch.deliver("8", deleted=True) == 1
    cache = watch.cache
    assert (cache.jobs, cache.reconciled, cache.unreadable) == ({}, {}, {})


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


async def test_phase_of_a_newer_operator_is_no_reason_to_stop() -> None:
    watch = Watch()
    watch.deliver("7", phase="Evaluating", attempts=2)
    assert watch.cache.jobs[KEY].attempts == 2
