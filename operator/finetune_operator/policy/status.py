"""The changes of a status: each method is one transition, with its conditions."""

import copy
import datetime
from collections.abc import Sequence

import msgspec

from finetune_operator.api import constants as c
from finetune_operator.api.contract import Progress, Result, Termination
from finetune_operator.api.types import (
    AttemptRecord,
    CurrentAttempt,
    DatasetStatus,
    Failure,
    FineTuneJob,
    Phase,
    Preparation,
    Status,
    TrainerStatus,
)
from finetune_operator.policy.conditions import REASON_LENGTH, Conditions
from finetune_operator.policy.outcome import Outcome
from finetune_operator.policy.plan import Attempt
from finetune_operator.policy.progress import is_worth_a_write

HISTORY = 10
MESSAGE_LENGTH = 256
FAILURE_LENGTH = 4096
"""Longest message and hint of status.failure: they may be others', such as a registry's."""
REPORTED = ("eta", "trainerStatus", "dataset", "model", "checkpoint", "output")
"""The fields of the status that a trainer's report fills; the job can be judged without them."""
NAMED = 5
IMAGE_LENGTH = 1024
PREPARING = ("fetch", "prepare")
BEFORE_FIT = (*PREPARING, "model")


class StatusUpdate:
    """A copy of a job's status that is being changed; finish() returns it."""

    def __init__(self, job: FineTuneJob, now: datetime.datetime) -> None:
        self._job = job
        self._now = now
        self.status = copy.copy(job.status)
        self.status.preparation = copy.copy(job.status.preparation)
        self.status.observed_generation = job.metadata.generation
        self._conditions = Conditions(
            job.status.conditions, now=now, generation=job.metadata.generation
        )

    def finish(self) -> Status:
        """Return the new status."""
        if not self._job.status.finished:
            self._summarize()
        self.status.conditions = self._conditions.all()
        self.status.failure = _bounded(self.status.failure)
        return self.status

    def _summarize(self) -> None:
        """Set the conditions that tools read which know no FineTuneJobs, such as Flux and Helm.

        They wait while Reconciling is True, and give up when Stalled is. As for a batch/v1 Job, a
        suspended job is waited for no more than a complete one.
        """
        status, failed = self.status, self._conditions.true(c.FAILED)
        at_rest = status.finished or self._conditions.true(c.SUSPENDED) is not None
        reason, message = status.phase or "Pending", ""
        if failed:
            self._conditions.set(c.STALLED_CONDITION, True, failed.reason, failed.message)
        elif status.failure and not at_rest:
            reason, message = status.failure.reason, status.failure.message
        self._conditions.set(c.RECONCILING, not at_rest, reason, message)

    def counts(self, *, prepare: bool) -> Status | Preparation:
        """Return the counters of this kind: the status itself, or its `preparation`."""
        if not prepare:
            return self.status
        self.status.preparation = self.status.preparation or Preparation()
        return self.status.preparation

    def observe(self, *, image: str, prepare_image: str) -> None:
        """Resolve the images when the job is first observed: all its attempts use these."""
        self.status.observed_uid = self._job.metadata.uid
        if self.status.start_time is None:
            self.status.start_time = self._now
            self.status.image = image
            if self._job.prepares_separately:
                self.status.preparation = Preparation(image=prepare_image)

    def activate(self, live: Attempt) -> None:
        """Start the clock of activeDeadlineSeconds with the first unsuspended Job; stop it while a
        queue suspends one, or gates hold back its pods.
        """
        since = self.status.active_since
        gated = live.gated_pod and not self.has_started(live)
        if not (live.job.spec.suspend or gated):
            # No object has the time at which a gate was removed.
            again = self._now if self._was_gated else live.job.unsuspended_at
            self.status.active_since = since or again
        elif since:
            self.status.active_seconds += int((self._now - since).total_seconds())
            self.status.active_since = None

    @property
    def _was_gated(self) -> bool:
        ready = self.status.condition(c.PODS_READY)
        return ready is not None and ready.reason == c.SCHEDULING_GATED

    def has_started(self, live: Attempt) -> bool:
        """Return True if the pods have run since the Job was last unsuspended.

        The condition PodsReady remembers it: a pod may be deleted before its Job has failed.
        """
        if live.started:
            return True
        start, ready = live.job.unsuspended_at, self._conditions.true(c.PODS_READY)
        since = ready.last_transition_time if ready else None
        had_started = start is not None and since is not None and since >= start
        return had_started and all(pod.started for pod in live.pods)

    def begin(self, number: int, *, prepare: bool) -> None:
        """Enter an attempt that is about to be created."""
        name = self._job.job_name(number, prepare=prepare)
        self._enter(
            CurrentAttempt(number=number, prepare=prepare, job_name=name, start_time=self._now)
        )
        queued = c.LABEL_QUEUE in self._job.metadata.labels
        self.status.phase = "Pending" if queued else "Starting"
        if not queued:
            self.status.active_since = self.status.active_since or self._now
            self._conditions.set(c.PODS_READY, False, c.STARTING)

    def adopt(self, live: Attempt) -> None:
        """Enter an attempt that was created before a crash, without a status that names it."""
        self._enter(
            CurrentAttempt(
                number=live.number,
                prepare=live.prepare,
                job_name=live.name,
                start_time=live.job.metadata.creation_timestamp,
            )
        )

    def _enter(self, attempt: CurrentAttempt) -> None:
        counts = self.counts(prepare=attempt.prepare)
        counts.attempts = max(counts.attempts, attempt.number)
        self.status.current_attempt = attempt
        if self.status.refused_since:
            self.status.refused_since = self.status.failure = None
            self._conditions.set(c.PODS_READY, False, c.STARTING)

    def undo_begin(self, failure: Failure, *, since: datetime.datetime | None) -> None:
        """Undo begin(), because the attempt could not be created, for the first time at `since`.

        The clocks run from then on: nobody else would end a job that is always refused.
        """
        assert self.status.current_attempt is not None
        self.counts(prepare=self.status.current_attempt.prepare).attempts -= 1
        self.status.current_attempt = None
        self.status.refused_since = since or self._now
        self.status.active_since = self.status.active_since or self.status.refused_since
        self.status.phase = "Pending"
        self.status.failure = failure
        self._conditions.set(c.PODS_READY, False, failure.reason, failure.message)

    def record(self, outcome: Outcome) -> None:
        """Move the current attempt to the history, with its end."""
        reason, result = outcome.reason, outcome.result
        status, attempt = self.status, self.status.current_attempt
        assert attempt is not None
        for condition in (c.PODS_READY, c.RUNNING, c.METRICS_AVAILABLE):
            self._conditions.clear(condition, reason, "The attempt ended.")
        if result:
            self._take_result(result)
        ended = AttemptRecord(
            number=attempt.number,
            prepare=attempt.prepare,
            reason=reason[:REASON_LENGTH],
            start_time=attempt.start_time,
            end_time=self._now,
            checkpoint_epoch=status.checkpoint.epoch if status.checkpoint else None,
            checkpoint_step=status.checkpoint.step if status.checkpoint else None,
            node=outcome.node,
            message=_shortened(outcome.failure.message) if outcome.failure else "",
        )
        status.history = (*status.history, ended)[-HISTORY:]
        status.current_attempt = None
        status.failure = outcome.failure
        status.eta = ""
        if reason not in (c.COMPLETE, c.PREPARED, c.SUSPENDED):
            counts = self.counts(prepare=attempt.prepare)
            counts.failures += outcome.counted
            counts.disruptions += not outcome.counted

    def take_progress(self, progress: Progress | None) -> None:
        """Copy the trainer's report; its figures only if they are worth a write."""
        if progress is None:
            return
        status = self.status
        self._take_dataset(progress.dataset)
        status.model = progress.model or status.model
        status.checkpoint = progress.checkpoint or status.checkpoint
        new = progress.trainer_status
        if new and is_worth_a_write(new, status.trainer_status):
            status.trainer_status = new
            status.eta = duration(new.estimated_remaining_seconds)

    def take_image(self, live: Attempt) -> None:
        """Copy the digest of the image: its tag may be another image tomorrow."""
        if live.pod and not live.prepare and (image := live.pod.image_id(c.CONTAINER)):
            self.status.image_id = image[:IMAGE_LENGTH]

    def take_node(self, live: Attempt) -> None:
        """Copy the node of the pod once its trainer runs: then the status is written anyway."""
        pod, attempt = live.pod, self.status.current_attempt
        if attempt and pod and pod.started:
            node = pod.spec.node_name
            self.status.current_attempt = msgspec.structs.replace(attempt, node=node)

    def take_checkpoint(self, termination: Termination | None) -> None:
        """Copy the checkpoint from a termination message: it may be newer than the last poll."""
        if termination and termination.checkpoint:
            self.status.checkpoint = termination.checkpoint

    def _take_result(self, result: Result) -> None:
        status = self.status
        status.accuracy = result.accuracy
        self._take_dataset(result.dataset)
        status.model = result.model or status.model
        status.checkpoint = result.checkpoint or status.checkpoint
        status.output = result.output or status.output
        # What the result does not say again, such as the loss, was measured in the last epoch.
        reported = status.trainer_status.metrics if status.trainer_status else ()
        metrics = {each.name: each for each in (*reported, *result.metrics)}
        status.trainer_status = TrainerStatus(
            progress_percentage=100,
            estimated_remaining_seconds=0,
            metrics=tuple(metrics.values()),
        )
        self._conditions.set(c.METRICS_AVAILABLE, True, c.REPORTED, "The result was read.")

    def _take_dataset(self, dataset: DatasetStatus | None) -> None:
        self.status.dataset = dataset or self.status.dataset
        if self.status.dataset:
            message = _counts(self.status.dataset)
            self._conditions.set(c.DATASET_READY, True, c.PREPARED, message)

    def complete_preparation(self, dataset: DatasetStatus | None) -> None:
        """Record that the data set is ready; training comes next."""
        assert self.status.preparation is not None
        self.status.preparation.completion_time = self._now
        self._take_dataset(dataset)
        if not self.status.dataset:
            message = "The workspace has the data set."
            self._conditions.set(c.DATASET_READY, True, c.PREPARED, message)

    def complete(self, result: Result) -> None:
        """Finish the job as Complete."""
        message = f"Accuracy {result.accuracy} on the validation images."
        self.status.failure = None
        self._finish("Complete", c.COMPLETE, c.COMPLETE, message)

    def fail(self, reason: str, failure: Failure | None, message: str = "") -> None:
        """Finish the job as Failed."""
        self.status.failure = failure
        text = " ".join(part for part in (message, failure.message if failure else "") if part)
        self._finish("Failed", c.FAILED, reason, text)

    def suspend(self, *, done: bool) -> None:
        """Enter Suspended by spec.suspend; `done` when no pod of the job runs."""
        self.status.failure = None
        self.status.refused_since = None
        self.status.phase = "Suspended"
        if done:
            # The clock starts over on resume, as a Job's does: https://kep.k8s.io/2232
            self.status.active_since, self.status.active_seconds = None, 0
            self._conditions.set(c.SUSPENDED, True, c.SUSPENDED, "spec.suspend is true.")
        else:
            self._conditions.set(c.SUSPENDED, False, c.SUSPENDING, "The pod is saving.")

    def resume(self) -> None:
        """Leave Suspended."""
        self._conditions.clear(c.SUSPENDED, c.RESUMED, "spec.suspend is false.")

    def wait(self, holders: Sequence[str] = ()) -> None:
        """Enter Pending: the next attempt is not created yet, perhaps as `holders` still run."""
        self.status.phase = "Pending"
        if holders:
            text = f"The next attempt waits until these have ended: {', '.join(holders[:NAMED])}."
            self._conditions.set(c.PODS_READY, False, c.STARTING, text)

    def block(self, failure: Failure | None) -> None:
        """Report what the job waits for before it can go on, if anything."""
        if failure:
            self.status.failure = failure
            self._conditions.set(c.PODS_READY, False, failure.reason, failure.message)

    def describe(
        self,
        live: Attempt,
        *,
        failure: Failure | None,
        progress: Progress | None,
        unreachable: bool,
        queued: str,
    ) -> None:
        """Describe the live attempt. `queued` says why its Job or its pods are held."""
        if live.job.spec.suspend:
            self._queue(c.QUEUED, queued or "The Job is suspended by a queue.", failure)
        elif live.gated_pod and not self.has_started(live):
            self._queue(c.SCHEDULING_GATED, queued, failure)
        elif live.pod and live.pod.trainer_ended:
            return  # the Job's own condition comes in a moment
        elif not self.has_started(live):
            self.status.phase = "Starting"
            self.status.failure = failure
            reason, message = (failure.reason, failure.message) if failure else (c.STARTING, "")
            self._conditions.set(c.PODS_READY, False, reason, message)
        else:
            self.status.failure = failure
            self._conditions.set(c.PODS_READY, True, c.PODS_READY)
            if live.job.runs_elsewhere:
                self._describe_elsewhere(failure, preparing=live.prepare)
            else:
                self._describe_running(progress, unreachable=unreachable)

    def _queue(self, reason: str, message: str, failure: Failure | None) -> None:
        self.status.phase = "Queued"
        self.status.failure = failure
        self.status.eta = ""
        self._conditions.set(c.PODS_READY, False, reason, message)
        for condition in (c.RUNNING, c.METRICS_AVAILABLE):
            self._conditions.clear(condition, reason, "No pod runs.")

    def _describe_elsewhere(self, failure: Failure | None, *, preparing: bool) -> None:
        self.status.phase = "Preparing" if preparing else "Training"
        reason = c.PREPARING if preparing else c.TRAINING
        self._conditions.set(c.RUNNING, not preparing, reason)
        message = failure.message if failure else ""
        self._conditions.set(c.METRICS_AVAILABLE, False, c.RUNS_ELSEWHERE, message)

    def _describe_running(self, progress: Progress | None, *, unreachable: bool) -> None:
        if progress is None:
            if self.status.phase not in (
                "Preparing",
                "Training",
            ):  # a new operator has not polled yet
                self.status.phase = "Starting"
            if unreachable:
                message = (
                    "The trainer's /progress does not answer; training continues without reports."
                )
                self._conditions.set(c.METRICS_AVAILABLE, False, c.UNREACHABLE, message)
            return
        preparing = progress.stage in PREPARING
        self.status.phase = "Preparing" if preparing else "Training"
        reason = c.PREPARING if preparing else c.TRAINING
        self._conditions.set(c.RUNNING, not preparing, reason)
        self._conditions.set(c.METRICS_AVAILABLE, True, c.REPORTED)
        if progress.stage not in BEFORE_FIT:
            self.status.fit_start_time = self.status.fit_start_time or self._now

    def _finish(self, phase: Phase, condition: str, reason: str, message: str) -> None:
        self.status.completion_time = self._now
        self.status.current_attempt = None
        self.status.refused_since = None
        self.status.eta = ""
        for ended in (c.PODS_READY, c.RUNNING):
            self._conditions.clear(ended, reason, message)
        self._conditions.set(condition, True, reason, message)
        self.status.phase = phase


def _shortened(text: str) -> str:
    """Leave out words in the middle of a long text: a runtime's message ends with the cause."""
    if len(text) <= MESSAGE_LENGTH:
        return text
    half = (MESSAGE_LENGTH - len(" ... ")) // 2
    head, tail = text[:half].rpartition(" ")[0], text[-half:].partition(" ")[2]
    return f"{head} ... {tail}" if head and tail else text[:MESSAGE_LENGTH]


def _bounded(failure: Failure | None) -> Failure | None:
    return failure and msgspec.structs.replace(
        failure,
        reason=failure.reason[:REASON_LENGTH],
        message=failure.message[:FAILURE_LENGTH],
        hint=failure.hint[:FAILURE_LENGTH],
    )


def duration(seconds: int | None) -> str:
    """Return a duration in human-readable form: 45s, 12m, 3h5m, 2d4h."""
    if seconds is None:
        return ""
    for unit, size, part, small in (("d", 86400, "h", 3600), ("h", 3600, "m", 60)):
        if seconds >= size:
            rest = seconds % size // small
            return f"{seconds // size}{unit}{rest}{part}" if rest else f"{seconds // size}{unit}"
    return f"{seconds // 60}m" if seconds >= 60 else f"{seconds}s"


def _counts(dataset: DatasetStatus) -> str:
    return (
        f"{dataset.classes} classes, {dataset.train_images} training and "
        f"{dataset.validation_images} validation images, {dataset.rejected_images} rejected."
    )
