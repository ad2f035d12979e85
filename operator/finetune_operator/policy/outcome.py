"""How an attempt ended, and whether another one may follow.

The table is the trainer contract's exit codes; everything the user reads comes from the trainer's
own error where it left one, because it knows more.
"""

import dataclasses
import re
from collections.abc import Iterable

from finetune_operator.api import constants as c
from finetune_operator.api.contract import Progress, Result, Termination, parse_termination
from finetune_operator.api.kubernetes import Job, Pod, Terminated
from finetune_operator.api.types import DatasetStatus, Failure, Status
from finetune_operator.policy import backoff
from finetune_operator.policy.plan import Attempt

ENDS_AFTER_ANOTHER = (83, 143)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """The end of one attempt."""

    reason: str
    retried: bool = True
    counted: bool = True
    result: Result | None = None
    dataset: DatasetStatus | None = None
    failure: Failure | None = None
    node: str = ""


BY_EXIT_CODE = {
    64: (c.INVALID_SPEC, False, "Correct the FineTuneJob and apply it under another name."),
    65: (c.INVALID_DATA, False, "Correct the data set and apply the FineTuneJob again."),
    66: (c.INPUT_NOT_FOUND, False, "Check the URIs of dataset and model."),
    69: (c.UNSUPPORTED_HARDWARE, True, "Choose other GPUs with trainer.nodeSelector."),  # once
    70: (c.INTERNAL_ERROR, True, "This is a bug in the trainer: please report it with the log."),
    73: (c.OUTPUT_NOT_WRITABLE, False, "Check that output.uri may be written by the pod's user."),
    74: (c.INPUT_OUTPUT_ERROR, True, "Check the free space of the volumes."),
    75: (c.TEMPORARY_FAILURE, True, "Check the network and the server of the source."),
    77: (c.PERMISSION_DENIED, False, "Check the credentials and the files' permissions."),
    80: (c.ACCURACY_BELOW_MINIMUM, False, "Add images, or lower training.minAccuracy."),
    81: (c.DIVERGED, False, "Lower training.optimizer.learningRate."),
    82: (c.STALLED, True, "Look for a hanging volume or device in the pod's log."),
    83: (c.PEER_LOST, True, "Look after the nodes of the other pods and the network between them."),
    84: (c.DEVICE_OUT_OF_MEMORY, False, "Lower training.batchSizePerDevice."),
    134: (c.CRASHED, True, "The trainer died of SIGABRT: see its log."),
    136: (c.CRASHED, True, "The trainer died of SIGFPE: see its log."),
    139: (c.CRASHED, True, "The trainer died of SIGSEGV: see its log."),
    143: (c.INTERRUPTED, True, "The pod was deleted; the next attempt resumes."),
}


def outcome_of(attempt: Attempt, status: Status) -> Outcome | None:
    """Return how the attempt ended, None while it lives.

    The Job's own condition comes last of all its pods' ends, but over another watch: what the pod
    said may still be on its way. Only a Job that is being deleted never gets a condition, and a
    result that its pod left all the same is not thrown away.
    """
    if attempt.holds_pods:
        return None
    if attempt.finished or (attempt.job.metadata.deletion_timestamp and _has_result(attempt)):
        return _classify(attempt, status)
    return None


def termination_of(pod: Pod | None) -> Termination | None:
    """Return what the pod said at its end; a message with another pod's id is no one's."""
    terminated = _terminated(pod)
    told = parse_termination(terminated.message) if terminated else None
    return told if told and pod and told.job.pod_uid == pod.metadata.uid else None


def stalled(pod: Pod, progress: Progress, seconds: int) -> Outcome:
    """Return the outcome of an attempt whose trainer answers but does not work."""
    message = (
        f"The trainer answers, but showed no work for {seconds} s (stallDeadlineSeconds) in stage "
        f"{progress.stage}."
    )
    reason, _, hint = BY_EXIT_CODE[82]
    return Outcome(
        reason=reason,
        failure=Failure(
            reason=reason,
            message=message,
            hint=hint,
            pod=pod.metadata.name,
            log_tail=tuple(line[:512] for line in progress.log_tail[-20:]),
        ),
    )


def node_lost(attempt: Attempt, pod: Pod, status: Status) -> Outcome:
    """Return the outcome of an attempt one of whose pods will never be said to have ended."""
    if _has_result(attempt):
        return _classify(attempt, status)
    node = pod.spec.node_name
    failure = Failure(
        reason=c.DISRUPTED,
        message=f"Node {node!r} does not answer; pod {pod.metadata.name} was given up.",
        hint="The next attempt resumes from the last checkpoint; look after the node.",
        pod=pod.metadata.name,
    )
    return _uncounted(c.DISRUPTED, failure, status)


def job_deleted(status: Status, *, suspended: bool) -> Outcome:
    """Return the outcome of an attempt whose Job is gone."""
    if suspended:
        return Outcome(reason=c.SUSPENDED, counted=False)
    message = "The attempt's Job was deleted by someone else."
    return _uncounted(c.JOB_DELETED, Failure(reason=c.JOB_DELETED, message=message), status)


def avoided_nodes(status: Status) -> tuple[str, ...]:
    """Return the nodes whose hardware an earlier attempt could not use."""
    failed = (r for r in status.history if r.reason == c.UNSUPPORTED_HARDWARE)
    return tuple(sorted({record.node for record in failed if record.node}))


def _has_result(attempt: Attempt) -> bool:
    told = termination_of(attempt.pod)
    return bool(attempt.pod and attempt.pod.ended and told and (told.result or told.prepared))


def _classify(attempt: Attempt, status: Status) -> Outcome:
    pod, job = attempt.pod, attempt.job
    if pod is None or pod.status.phase == "Failed":
        pod = _culprit(attempt.pods) or pod
    told, terminated = termination_of(pod), _terminated(pod)
    code = terminated.exit_code if terminated else _code_in(job)
    name = pod.metadata.name if pod else ""
    if attempt.prepare and (code == 0 or job.condition("Complete")):
        # What it made is in the workspace, whether its word of it came through or not.
        return Outcome(reason=c.PREPARED, counted=False, dataset=told.prepared if told else None)
    if code == 0 and told and told.result:
        return Outcome(reason=c.COMPLETE, result=told.result)
    if job.condition("Complete") or code == 0:
        message = "The pod ended well, but its result could not be read."
        failure = Failure(reason=c.RESULT_LOST, message=message, pod=name)
        if terminated:  # the image does not keep the contract: it will not the next time either
            return Outcome(reason=c.RESULT_LOST, failure=failure)
        return _uncounted(c.RESULT_LOST, failure, status)
    if _disrupted(pod, job):
        return _uncounted(c.DISRUPTED, _disruption(pod, job), status)
    if job.spec.suspend:
        return _uncounted(c.DISRUPTED, _preemption(name), status)
    reason, retried, hint = _row(code, terminated, pod)
    failure = Failure(
        reason=reason,
        message=(told.error.message if told and told.error else "") or _why(terminated, pod, job),
        hint=(told.error.hint if told and told.error else "") or hint,
        exit_code=code,
        pod=name,
        log_tail=_log_tail(terminated, told),
    )
    if reason == c.INTERRUPTED:
        return _uncounted(reason, failure, status, only_if_advanced=True)
    if reason == c.UNSUPPORTED_HARDWARE:  # on another node it may go well; nowhere the third time
        retried = not avoided_nodes(status)
    result = told.result if told else None
    node = pod.spec.node_name if pod else ""
    return Outcome(reason=reason, retried=retried, failure=failure, result=result, node=node)


def _row(code: int | None, terminated: Terminated | None, pod: Pod | None) -> tuple[str, bool, str]:
    if terminated and terminated.reason == "OOMKilled":
        hint = "Raise trainer.resources.limits.memory, or lower training.batchSizePerDevice."
        return c.OUT_OF_MEMORY, True, hint
    if code in BY_EXIT_CODE:
        return BY_EXIT_CODE[code]
    if code is None and pod and pod.status.reason:
        return pod.status.reason, True, "The kubelet refused the pod: see its message."
    return c.UNKNOWN_ERROR, True, "See the pod's log."


def _uncounted(
    reason: str, failure: Failure, status: Status, *, only_if_advanced: bool = False
) -> Outcome:
    counted = backoff.counts(status, only_if_advanced=only_if_advanced)
    return Outcome(reason=reason, counted=counted, failure=failure)


def _terminated(pod: Pod | None) -> Terminated | None:
    return pod.container(c.CONTAINER).terminated if pod else None


def _culprit(pods: Iterable[Pod]) -> Pod | None:
    """Return the pod that failed first of its own: the others of a gang end because of it."""

    def rank(pod: Pod) -> tuple[bool, str]:
        terminated = _terminated(pod)
        follows = terminated is not None and terminated.exit_code in ENDS_AFTER_ANOTHER
        spared = follows and not pod.condition("DisruptionTarget")
        return spared, str(terminated.finished_at if terminated else "")

    return min((pod for pod in pods if pod.status.phase == "Failed"), key=rank, default=None)


def _disrupted(pod: Pod | None, job: Job) -> bool:
    if pod:
        return bool(pod.condition("DisruptionTarget")) or pod.status.reason == "Evicted"
    failed = job.condition("Failed")
    return bool(failed and "DisruptionTarget" in failed.message)


def _disruption(pod: Pod | None, job: Job) -> Failure:
    # The kubelet evicts for a limit on storage without the condition.
    condition = pod.condition("DisruptionTarget") if pod else None
    failed = job.condition("Failed")
    words = (condition, pod and pod.status, failed)
    message = next((each.message for each in words if each and each.message), "")
    hint = "The next attempt resumes from the last checkpoint."
    if "ephemeral" in message:
        hint = "Raise trainer.resources.limits.ephemeral-storage, or use a workspace."
    return Failure(
        reason=c.DISRUPTED,
        message=f"The pod was disrupted: {message}",
        hint=hint,
        pod=pod.metadata.name if pod else "",
    )


def _preemption(pod: str) -> Failure:
    return Failure(
        reason=c.DISRUPTED,
        message="The queue took the resources back, and the pod ended before it had saved.",
        hint="The next attempt resumes from the last checkpoint; a longer "
        "trainer.terminationGracePeriodSeconds lets a pod save.",
        pod=pod,
    )


def _code_in(job: Job) -> int | None:
    """Read the exit code out of the Job's condition, for a pod that is gone already.

    The Job's podFailurePolicy names every code but that of a pod that was asked to end.
    """
    failed = job.condition("Failed")
    if failed and failed.reason == "BackoffLimitExceeded":
        return 143
    found = re.search(r"exit code (\d+)", failed.message) if failed else None
    return int(found.group(1)) if found else None


def _why(terminated: Terminated | None, pod: Pod | None, job: Job) -> str:
    if terminated:
        return f"The trainer exited with code {terminated.exit_code} ({terminated.reason})."
    if pod and pod.status.message:
        return pod.status.message
    failed = job.condition("Failed")
    return failed.message if failed else ""


def _log_tail(terminated: Terminated | None, told: Termination | None) -> tuple[str, ...]:
    """Without a termination message the kubelet put the end of the log there."""
    if told and told.error:
        lines = told.error.log_tail
    else:
        lines = tuple(terminated.message.splitlines()) if terminated and not told else ()
    return tuple(line[:512] for line in lines[-20:])
