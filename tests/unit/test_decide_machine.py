"""decide in a small world: a Job controller, a kubelet, nodes that get lost, a queue, users,
containers of others, and an operator that crashes.

Whatever happens in whatever order: a finished job creates nothing, no two trainers of one job ever
run at once, no result is thrown away, no end of an attempt is lost or recorded twice, failures are
bounded, and when the world is left alone the job comes to its end.
"""

import dataclasses
from typing import Any

import msgspec
from finetune_operator.api import constants as c
from finetune_operator.api.contract import Progress
from finetune_operator.api.kubernetes import Condition, Pod
from finetune_operator.decide import decide
from finetune_operator.policy.plan import (
    Attempt,
    CreateAttempt,
    DeleteAttempt,
    ForceDeletePod,
    Observed,
    Plan,
)
from finetune_operator.settings import Settings
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.support.builders import (
    disrupted,
    later,
    make_attempt,
    make_ended_pod,
    make_job,
    make_kept_pod,
    make_pod,
    make_progress,
    result_message,
)

CRASHES = st.sampled_from(["", "after create", "after write"])
CODES = st.sampled_from([0, 1, 65, 70, 75, 80, 82, 137, 139, 143])
Id = tuple[bool, int]
"""Whether it trains (a job prepares first), and the attempt's number."""


@dataclasses.dataclass
class Child:
    """One attempt as the API server has it."""

    id: Id
    started: float
    pod: Pod | None = None
    ended: str = ""
    deleting: bool = False
    queued: bool = False
    """By a queue."""

    @property
    def owner(self) -> str:
        trains, number = self.id
        return f"attempt-{number}" if trains else f"attempt-{number}-prepare"

    @property
    def lost(self) -> bool:
        """Whether its pod is on a node that does not answer."""
        return bool(self.pod and not self.pod.ended and self.pod.metadata.deletion_timestamp)

    def seen(self) -> Attempt:
        trains, number = self.id
        return make_attempt(
            number,
            *([self.pod] if self.pod else []),
            ended=self.ended,
            deleting=self.deleting,
            suspended=self.queued,
            started=later(self.started),
            prepare=not trains,
        )


class JobMachine(RuleBasedStateMachine):
    @initialize(
        limit=st.integers(0, 2),
        deadline=st.sampled_from([None, 500]),
        startup=st.sampled_from([60, 1800]),
        prepare=st.sampled_from(["Inline", "Separate"]),
    )
    def start(self, limit: int, deadline: int | None, startup: int, prepare: str) -> None:
        self.spec: dict[str, Any] = {
            "backoffLimit": limit,
            "startupDeadlineSeconds": startup,
            "dataset": {"source": {"uri": "pvc://photos"}, "prepare": prepare},
            "workspace": {"claimName": "work"},
            **({"activeDeadlineSeconds": deadline} if deadline else {}),
        }
        self.limit = limit
        self.job = make_job(**self.spec)
        self.now = 0.0
        self.children: dict[Id, Child] = {}
        self.orphaned_pods: list[Pod] = []
        self.ended_pods: list[Pod] = []
        self.epoch = 0
        self.full = False
        self.created: list[Id] = []
        self.recorded: set[Id] = set()
        self.cut_off: set[Id] = set()

    # The operator

    @rule(crash=CRASHES)
    def reconcile(self, crash: str) -> None:
        """One pass. A conflict on the status write is as good as a crash after the create."""
        finished, status = self.job.status.finished, self.job.status
        plan = self._decide()
        creates = [(not a.prepare, a.number) for a in plan.actions if isinstance(a, CreateAttempt)]
        if finished:
            assert not creates
            assert plan.status == status
        for new in creates:
            self._create(new)
        if crash == "after create":
            return
        recorded = [(not ended.prepare, ended.number) for ended in plan.status.history]
        assert recorded == sorted(set(recorded))
        self.recorded |= set(recorded)
        if plan.status.finished and not finished:
            self.cut_off = {max(self.created, default=(True, 0))}  # perhaps by a deadline
        self.job = msgspec.structs.replace(self.job, status=plan.status)
        if crash == "after write":
            return
        for action in plan.actions:
            if isinstance(action, DeleteAttempt):
                self._delete(action.uid)
            elif isinstance(action, ForceDeletePod):
                self._force(action.uid)

    def _decide(self) -> Plan:
        seen = Observed(
            job=self.job,
            attempts=tuple(self.children[key].seen() for key in sorted(self.children)),
            orphaned_pods=tuple(self.orphaned_pods),
            ended_pods=tuple(self.ended_pods),
            progress=self._progress(),
        )
        return decide(seen, later(self.now), Settings(trainer_gpu_image="trainer:1"))

    def _progress(self) -> Progress | None:
        newest = self.children.get(max(self.children, default=(True, 0)))
        if newest and newest.pod and newest.pod.status.phase == "Running":
            return make_progress(epoch=self.epoch)
        return None

    def _create(self, id: Id) -> None:
        if id not in self.children:  # 409 with our uid is as good
            trains, number = id
            preparation = self.job.status.preparation
            written = self.job.status.attempts if trains else preparation and preparation.attempts
            assert number > (written or 0), "a number that is written is used once"
            assert trains or not any(trains for trains, _ in self.created), "it is prepared"
            self.created.append(id)
            self.children[id] = Child(id, self.now)

    def _delete(self, uid: str) -> None:
        for child in self.children.values():
            if child.owner == uid:
                child.deleting = True

    def _force(self, uid: str) -> None:
        """A forced pod is deleted, though it may still run: its Job must not make another."""
        for child in self.children.values():
            if child.pod and child.pod.metadata.uid == uid:
                assert child.deleting or child.ended
                child.pod = None
        self.orphaned_pods = [pod for pod in self.orphaned_pods if pod.metadata.uid != uid]

    # The cluster

    def _cluster_works(self) -> None:
        """The Job controller and the kubelet do what they can."""
        for key, child in list(self.children.items()):
            if child.deleting:
                if child.pod is None or child.pod.trainer_ended:
                    del self.children[key]
                    self._take_away(child)
            elif child.queued:
                if child.pod and not child.lost:
                    self._take_away(child)  # it saved
            elif child.pod is None and not child.ended:
                self._start_pod(child)
            elif child.pod and child.pod.ended and not child.ended:
                succeeded = child.pod.status.phase == "Succeeded"
                child.ended = "Complete" if succeeded else "Failed"

    def _take_away(self, child: Child) -> None:
        if child.pod and child.pod.trainer_ended:
            self.ended_pods.append(child.pod)
        child.pod = None

    def _start_pod(self, child: Child) -> None:
        phase = "Pending" if self.full else "Running"
        uid = f"pod-of-{child.owner}"
        child.pod = make_pod(phase, uid=uid, owner=child.owner, created=later(self.now))

    @rule(
        code=CODES,
        evicted=st.booleans(),
        loses_message=st.booleans(),
        kept=st.booleans(),
        crash=CRASHES,
    )
    def pod_ends(
        self, code: int, evicted: bool, loses_message: bool, kept: bool, crash: str
    ) -> None:
        """The trainer ends; if it is `kept`, another container keeps its pod."""
        conditions = (disrupted(),) if evicted and code else ()
        for child in self.children.values():
            if child.pod and not child.pod.trainer_ended and not child.lost:
                child.pod = _end(
                    child.pod, code, conditions, loses_message=loses_message, kept=kept
                )
        self._cluster_works()
        self._watch(crash)

    @rule(crash=CRASHES)
    def kubelet_rejects_the_pod(self, crash: str) -> None:
        for child in self.children.values():
            if child.pod and child.pod.status.phase == "Pending":
                uid, owner = child.pod.metadata.uid, child.owner
                child.pod = make_pod("Failed", uid=uid, owner=owner, reason="OutOfcpu")
        self._cluster_works()
        self._watch(crash)

    @rule(seconds=st.sampled_from([1, 15, 400]), epochs=st.integers(0, 1), full=st.booleans())
    def time_passes(self, seconds: int, epochs: int, full: bool) -> None:
        self.now += seconds
        self.full = full
        self.epoch = (self.epoch or 0) + epochs
        if seconds >= 15:
            self.orphaned_pods = [
                pod for pod in self.orphaned_pods if pod.metadata.deletion_timestamp
            ]
        self._watch()
        self._cluster_works()

    @precondition(lambda self: self.children)
    @rule()
    def node_is_lost(self) -> None:
        """The taint manager deletes the pod; no kubelet ends it."""
        child = self.children[max(self.children)]
        if child.pod and child.pod.status.phase == "Running":
            deleted = msgspec.structs.replace(
                child.pod.metadata, deletion_timestamp=later(self.now + 30)
            )
            child.pod = msgspec.structs.replace(child.pod, metadata=deleted)
        self._watch()

    @precondition(lambda self: self.children)
    @rule()
    def queue_holds_or_admits_the_newest_job(self) -> None:
        child = self.children[max(self.children)]
        if not child.ended:
            child.queued = not child.queued
            child.started = self.now
        self._cluster_works()
        self._watch()

    # Users

    @rule(suspend=st.booleans())
    def user_suspends(self, suspend: bool) -> None:
        self.job = make_job(self.job.status, **self.spec, suspend=suspend)
        self._watch()

    @precondition(lambda self: self.children)
    @rule(background=st.booleans())
    def user_deletes_the_newest_job(self, background: bool) -> None:
        child = self.children[max(self.children)]
        if background:
            del self.children[child.id]
            if child.pod:
                pods = self.ended_pods if child.pod.trainer_ended else self.orphaned_pods
                pods.append(child.pod)
        else:
            child.deleting = True
        self._watch()

    def _watch(self, crash: str = "") -> None:
        self.reconcile(crash)
        self._cluster_works()

    # What always holds

    @invariant()
    def no_two_trainers_run_at_once(self) -> None:
        running = [x for x in self.children.values() if x.pod and not x.pod.trainer_ended]
        assert len(running) + len(self.orphaned_pods) <= 1

    @invariant()
    def no_result_is_thrown_away(self) -> None:
        """A training attempt that is recorded had no result, or completed the job."""
        trained = {record.number for record in self.job.status.history if not record.prepare}
        left = [pod for pod in self.ended_pods if pod.trainer.terminated]
        for pod in left:
            ended, labels = pod.trainer.terminated, pod.metadata.labels
            assert ended
            number = int(labels[c.LABEL_ATTEMPT])
            if ended.message and labels[c.LABEL_ROLE] == c.ROLE_TRAIN and number in trained:
                assert self.job.status.accuracy

    @invariant()
    def failures_are_bounded(self) -> None:
        status = self.job.status
        assert status.failures <= self.limit + 1
        assert not status.preparation or status.preparation.failures <= self.limit + 1

    @invariant()
    def counts_agree(self) -> None:
        status = self.job.status
        uncounted = (c.COMPLETE, c.PREPARED, c.SUSPENDED)
        ended = [r for r in status.history if r.reason not in uncounted]
        kinds: list[Any] = [status, *([status.preparation] if status.preparation else [])]
        counted = sum(kind.failures + kind.disruptions for kind in kinds)
        assert counted >= len(ended)
        assert len(status.history) == 10 or counted == len(ended)
        # Passes that could not write: one adopted a Job that another had created, and created one.
        newest = max([0, *(number for trains, number in self.created if trains)])
        assert newest - 2 <= status.attempts <= newest

    def teardown(self) -> None:
        """Left alone, and resumed, the job comes to its end, with a result if it had none."""
        if not hasattr(self, "job"):
            return
        self.user_suspends(suspend=False)
        for child in self.children.values():
            child.queued = False
        for _ in range(18):
            self.time_passes(400, epochs=0, full=False)
            self.pod_ends(0, evicted=False, loses_message=False, kept=True, crash="")
        assert self.job.status.finished
        preparation = self.job.status.preparation
        last = {True: self.job.status.attempts, False: preparation.attempts if preparation else 0}
        written = {(trains, n) for trains, n in self.created if n <= last[trains]}
        assert written - self.recorded <= self.cut_off
        assert not [x for x in self.children.values() if x.pod and not x.pod.ended]


def _end(
    pod: Pod, code: int, conditions: tuple[Condition, ...], *, loses_message: bool, kept: bool
) -> Pod:
    uid = pod.metadata.uid
    message = "" if loses_message or code else result_message(pod_uid=uid)
    owner = pod.metadata.controller_uid
    make = make_kept_pod if kept else make_ended_pod
    return make(code, message, uid=uid, owner=owner, conditions=conditions)


JobMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
TestJobMachine = JobMachine.TestCase
