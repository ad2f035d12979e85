"""The end of an attempt: its reason, whether it is retried, and what the user should do.

The table has the exit codes of the trainer contract. If the trainer left an error of its own, its
message and hint are used: the trainer knows more.
"""

import dataclasses
import datetime
import re
import signal
from collections.abc import Iterable

from finetune_operator.api import constants as c
from finetune_operator.api.contract import Progress, Result, Termination, parse_termination
from finetune_operator.api.kubernetes import Job, Metadata, Pod, Terminated
from finetune_operator.api.types import CurrentAttempt, DatasetStatus, Failure, Status
from finetune_operator.policy import backoff, node_faults
from finetune_operator.policy.node_faults import SIGNALS
from finetune_operator.policy.plan import Attempt

ENDS_AFTER_ANOTHER = (83, 143)
KILLED = 128
"""Exit codes from here on are those of a signal: a result that was written before is whole."""


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
    69: (
        c.UNSUPPORTED_HARDWARE,
        True,
        "Choose other GPUs with trainer.nodeSelector.",
    ),  # once: see _classify
    70: (c.INTERNAL_ERROR, True, "This is a bug in the trainer: please report it with the log."),
    73: (c.OUTPUT_NOT_WRITABLE, False, "Check that output.uri may be written by the pod's user."),
    74: (c.INPUT_OUTPUT_ERROR, True, "Check the free space of the volumes."),
    75: (c.TEMPORARY_FAILURE, True, "Check the network and the server of the source."),
    77: (c.PERMISSION_DENIED, False, "Check the credentials and the files' permissions."),
    80: (c.ACCURACY_BELOW_MINIMUM, False, "Add images, or lower training.minAccuracy."),
    81: (c.DIVERGED, False, "Lower training.optimizer.learningRate."),
    82: (c.STALLED, True, "Look in the pod's log for a volume or device that hangs."),
    83: (c.PEER_LOST, True, "Check the nodes of the other pods, and the network between them."),
    84: (c.DEVICE_OUT_OF_MEMORY, False, "Lower training.batchSizePerDevice."),
    143: (c.INTERRUPTED, True, "The pod was deleted; the next attempt resumes."),
}


def outcome_of(attempt: Attempt, status: Status) -> Outcome | None:
    """Return how the attempt ended, None while it lives.

    A result ends it at once, whatever becomes of its Job. Without one it ends with its Job's
    condition, which is set after all its pods have ended. That condition never comes while another
    container keeps a pod, nor for a Job that is being deleted: there the error of the trainer is
    enough.
    """
    if has_result(attempt.pods):
        return _classify(attempt, status)
    if attempt.trains:
        return None
    kept = attempt.kept_by and attempt.undisturbed
    failed = attempt.job.metadata.deletion_timestamp and _has_error(attempt)
    return _classify(attempt, status) if attempt.finished or kept or failed else None


def outcome_of_pods(
    attempt: CurrentAttempt, pods: tuple[Pod, ...], status: Status
) -> Outcome | None:
    """Return how an attempt whose Job was deleted ended by itself, None if it did not."""
    role = c.ROLE_PREPARE if attempt.prepare else c.ROLE_TRAIN
    deleted = Metadata(
        name=attempt.job_name,
        labels={c.LABEL_ROLE: role},
        deletion_timestamp=datetime.datetime.fromtimestamp(0, datetime.UTC),
    )
    return outcome_of(Attempt(number=attempt.number, job=Job(metadata=deleted), pods=pods), status)


def has_result(pods: Iterable[Pod]) -> bool:
    """Return True if the trainer of one of the pods has ended with a result."""
    return _with_result(pods) is not None


def termination_of(pod: Pod | None) -> Termination | None:
    """Return the termination message of the pod; one with another pod's uid is ignored."""
    terminated = _terminated(pod)
    report = parse_termination(terminated.message) if terminated else None
    return report if report and pod and report.job.pod_uid == pod.metadata.uid else None


def stalled(pod: Pod, progress: Progress, seconds: int) -> Outcome:
    """Return the outcome of an attempt whose trainer answers but makes no progress."""
    message = (
        f"The trainer answers, but made no progress for {seconds} s (stallDeadlineSeconds) "
        f"in stage {progress.stage}."
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
    """Return the outcome of an attempt whose pod is on a lost node."""
    if not attempt.trains:
        return _classify(attempt, status)
    node = pod.spec.node_name
    failure = Failure(
        reason=c.DISRUPTED,
        message=f"Node {node!r} is unreachable; its pod {pod.metadata.name} was deleted.",
        hint="The next attempt resumes from the last checkpoint; check the node.",
        pod=pod.metadata.name,
    )
    return _disrupted_outcome(c.DISRUPTED, failure, status)


def job_deleted(status: Status, *, suspended: bool) -> Outcome:
    """Return the outcome of an attempt whose Job was deleted."""
    if suspended:
        return Outcome(reason=c.SUSPENDED, counted=False)
    message = "The attempt's Job was deleted by someone else."
    return _disrupted_outcome(c.JOB_DELETED, Failure(reason=c.JOB_DELETED, message=message), status)


def avoided_nodes(status: Status) -> tuple[str, ...]:
    """Return the nodes whose hardware an earlier attempt could not use."""
    return _nodes(status, c.UNSUPPORTED_HARDWARE)


def unpreferred_nodes(status: Status) -> tuple[str, ...]:
    """Return the nodes whose fault ended an earlier attempt: by now they may be well again."""
    return _nodes(status, c.POD_REJECTED, c.DISRUPTED)


def _nodes(status: Status, *reasons: str) -> tuple[str, ...]:
    found = {record.node for record in status.history if record.reason in reasons}
    return tuple(sorted(found - {""}))


def _with_result(pods: Iterable[Pod]) -> Pod | None:
    for pod in pods:
        report = termination_of(pod)
        if pod.is_leader and report and (report.result or report.prepared):
            return pod
    return None


def _has_error(attempt: Attempt) -> bool:
    """Return True if a trainer ended with an error of its own, not because it was ended."""
    ends = [(termination_of(pod), _terminated(pod)) for pod in attempt.pods]
    return any(
        report and report.error and terminated and terminated.exit_code not in ENDS_AFTER_ANOTHER
        for report, terminated in ends
    )


def _classify(attempt: Attempt, status: Status) -> Outcome:
    pod, job = attempt.pod, attempt.job
    if pod is None or _has_failed(pod):
        pod = _culprit(attempt.pods) or pod
    pod = _with_result(attempt.pods) or pod
    report, terminated = termination_of(pod), _terminated(pod)
    code = terminated.exit_code if terminated else _code_in(job)
    name = pod.metadata.name if pod else ""
    result = report.result if report else None
    if attempt.prepare and (code == 0 or job.condition("Complete") or (report and report.prepared)):
        # The data set is in the workspace, even if the termination message is missing.
        return Outcome(
            reason=c.PREPARED, counted=False, dataset=report.prepared if report else None
        )
    if report and result and not report.error and (code == 0 or (code or 0) >= KILLED):
        return Outcome(reason=c.COMPLETE, result=result)
    if not result and (job.condition("Complete") or code == 0):
        message = "The pod succeeded, but its result could not be read."
        failure = Failure(reason=c.RESULT_LOST, message=message, pod=name)
        if job.runs_elsewhere:  # so would every other attempt
            return Outcome(reason=c.RESULT_LOST, retried=False, failure=_elsewhere(job))
        if terminated:  # the image breaks the contract, and will do so again
            return Outcome(reason=c.RESULT_LOST, failure=failure)
        return _disrupted_outcome(c.RESULT_LOST, failure, status)
    if not result and _disrupted(pod, job):
        return _disrupted_outcome(c.DISRUPTED, _disruption(pod, job), status)
    if pod and not report and (fault := node_faults.fault_of(pod)):
        return _disrupted_outcome(fault.reason, fault, status, node=pod.spec.node_name)
    if pod and not terminated and (hindered := _failed_container(pod)):
        return Outcome(reason=hindered.reason, failure=hindered)
    if not result and job.spec.suspend:
        return _disrupted_outcome(c.DISRUPTED, _preemption(name), status)
    deleted = bool(pod and pod.metadata.deletion_timestamp)
    reason, retried, hint = _by_exit_code(code, terminated, deleted=deleted)
    failure = Failure(
        reason=reason,
        message=(report.error.message if report and report.error else "")
        or _cause(terminated, pod, job),
        hint=(report.error.hint if report and report.error else "") or hint,
        exit_code=code,
        pod=name,
        log_tail=_log_tail(terminated, report),
    )
    if reason == c.INTERRUPTED:
        counted = backoff.is_counted(status, uncounted=0)
        return Outcome(reason=reason, counted=counted, failure=failure)
    if reason == c.UNSUPPORTED_HARDWARE:  # another node may do; a second failure ends the job
        retried = not avoided_nodes(status)
    node = pod.spec.node_name if pod else ""
    return Outcome(reason=reason, retried=retried, failure=failure, result=result, node=node)


def _by_exit_code(
    code: int | None, terminated: Terminated | None, *, deleted: bool
) -> tuple[str, bool, str]:
    if terminated and terminated.reason == "OOMKilled":
        hint = "Raise trainer.resources.limits.memory, or lower training.batchSizePerDevice."
        return c.OUT_OF_MEMORY, True, hint
    if code == 128 + signal.SIGKILL and deleted:
        hint = "A longer trainer.terminationGracePeriodSeconds lets a deleted pod save."
        return c.INTERRUPTED, True, hint
    if code in BY_EXIT_CODE:
        return BY_EXIT_CODE[code]
    if code and code in SIGNALS:
        hint = f"The trainer was killed by {_signal_name(code - 128)}: see its log."
        return c.CRASHED, True, hint
    return c.UNKNOWN_ERROR, True, "See the pod's log."


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _disrupted_outcome(reason: str, failure: Failure, status: Status, *, node: str = "") -> Outcome:
    return Outcome(reason=reason, counted=backoff.is_counted(status), failure=failure, node=node)


def _terminated(pod: Pod | None) -> Terminated | None:
    return pod.trainer.terminated if pod else None


def _has_failed(pod: Pod) -> bool:
    """Return True if the trainer failed, or never ran; its pod fails with other containers, too."""
    terminated = _terminated(pod)
    return bool(terminated.exit_code) if terminated else pod.status.phase == "Failed"


def _failed_container(pod: Pod) -> Failure | None:
    """Return the failure of another container, because of which the trainer was never started."""
    statuses = (*pod.status.init_container_statuses, *pod.status.container_statuses)
    if pod.metadata.deletion_timestamp:  # which ended the container
        return None
    for name, ended in ((each.name, each.state.terminated) for each in statuses):
        if ended and ended.exit_code:
            message = (
                f"Container {name!r} exited with code {ended.exit_code} ({ended.reason}) before "
                f"the trainer was started. {ended.message}"
            )
            hint = f"The FineTuneJob does not ask for {name!r}: see its log, and what injects it."
            return Failure(
                reason=c.CONTAINER_ERROR,
                message=message.strip(),
                hint=hint,
                exit_code=ended.exit_code,
                pod=pod.metadata.name,
            )
    return None


def _culprit(pods: Iterable[Pod]) -> Pod | None:
    """Return the pod that failed first; the other pods of a gang ended because of it."""

    def rank(pod: Pod) -> tuple[bool, str]:
        terminated = _terminated(pod)
        follows = terminated is not None and terminated.exit_code in ENDS_AFTER_ANOTHER
        excused = follows and not pod.condition("DisruptionTarget")
        return excused, str(terminated.finished_at if terminated else "")

    return min(filter(_has_failed, pods), key=rank, default=None)


def _disrupted(pod: Pod | None, job: Job) -> bool:
    if pod:
        target = bool(pod.condition("DisruptionTarget"))
        return target or pod.status.reason == "Evicted" or _ended_by_kubelet(pod)
    failed = job.condition("Failed")
    return bool(failed and "DisruptionTarget" in failed.message)


def _ended_by_kubelet(pod: Pod) -> bool:
    """Return True if the kubelet says why it ended the trainer, such as after its own restart.

    DeadlineExceeded is the pod's activeDeadlineSeconds, which a policy has set: no node heals it.
    """
    terminated = _terminated(pod)
    killed = terminated is not None and terminated.exit_code in (137, 143)
    return killed and pod.status.reason not in ("", "DeadlineExceeded")


def _disruption(pod: Pod | None, job: Job) -> Failure:
    # The kubelet sets no condition when it evicts a pod for its storage limit.
    condition = pod.condition("DisruptionTarget") if pod else None
    failed = job.condition("Failed")
    sources = (condition, pod and pod.status, failed)
    message = next((each.message for each in sources if each and each.message), "")
    hint = "The next attempt resumes from the last checkpoint."
    if "ephemeral" in message:
        hint = "Raise trainer.resources.limits.ephemeral-storage, or use a workspace."
    return Failure(
        reason=c.DISRUPTED,
        message=f"The pod was disrupted: {message}",
        hint=hint,
        pod=pod.metadata.name if pod else "",
    )


def _elsewhere(job: Job) -> Failure:
    return Failure(
        reason=c.RESULT_LOST,
        message=f"The Job completed in another cluster (managedBy {job.spec.managed_by}), where "
        "its result cannot be read.",
        hint="The accuracy is in result.json of output.uri or of the workspace there. For a result "
        "in the status use a ClusterQueue without MultiKueue.",
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
    """Return the exit code that the Job's condition names, for a pod that is already deleted.

    podFailurePolicy puts every code into the condition except 143, the one of SIGTERM:
    https://kep.k8s.io/3329
    """
    failed = job.condition("Failed")
    if failed and failed.reason == "BackoffLimitExceeded":
        return 143
    found = re.search(r"exit code (\d+)", failed.message) if failed else None
    return int(found.group(1)) if found else None


def _cause(terminated: Terminated | None, pod: Pod | None, job: Job) -> str:
    if terminated:
        return f"The trainer exited with code {terminated.exit_code} ({terminated.reason})."
    if pod and pod.status.message:
        return pod.status.message
    failed = job.condition("Failed")
    return failed.message if failed else ""


def _log_tail(terminated: Terminated | None, report: Termination | None) -> tuple[str, ...]:
    """Return the last lines of the log; without a report the kubelet makes them the message."""
    if report and report.error:
        lines = report.error.log_tail
    else:
        lines = tuple(terminated.message.splitlines()) if terminated and not report else ()
    return tuple(line[:512] for line in lines[-20:])
