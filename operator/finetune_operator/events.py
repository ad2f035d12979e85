"""The Events of a FineTuneJob, derived from the change of its status."""

import datetime
import os
import uuid
from typing import Any

from finetune_operator import __version__
from finetune_operator.api import constants as c
from finetune_operator.api.kubernetes import Identity, Metadata
from finetune_operator.api.types import AttemptRecord, Failure, FineTuneJob, Status
from finetune_operator.policy.plan import Plan

WARNING, NORMAL = "Warning", "Normal"
ACTIONS = {
    "Pending": "Waiting",
    "Queued": "Queueing",
    "Suspended": "Suspending",
    "Complete": "Completing",
    "Failed": "Failing",
}
"""What the operator was doing, by the phase that came of it; the other phases say it themselves."""
AWAITED = ("Pending", "Starting")
"""Phases in which nothing has happened to a new job yet."""
NO_FAILURES = (c.COMPLETE, c.PREPARED, c.SUSPENDED)
"""Reasons of attempts that ended as they should."""


def events_of(job: FineTuneJob, new: Status, now: datetime.datetime) -> list[dict[str, Any]]:
    """Return the Events of a change: a new phase, an ended attempt, a new diagnosis.

    The end of a job by a failure is one Event, though its last attempt ended with it.
    """
    old, phase = job.status, new.phase or ""
    failed = phase == "Failed" != old.phase
    action = ACTIONS.get(phase, phase)
    found = []
    if failed:
        found.append((WARNING, f"{c.KIND}Failed", action, _end(new)))
    elif phase not in ("", old.phase) and (old.phase or phase not in AWAITED):
        found.append((NORMAL, f"{c.KIND}{phase}", action, _phase_message(new)))
    if phase != "Failed":
        known = [old.failure.reason] if old.failure else []
        if ended := _failed_attempt(new, old):
            found.append((WARNING, ended.reason, "EndingAttempt", _end_of(ended, new.failure)))
            known = [ended.reason]
        if new.failure and new.failure.reason not in known:
            found.append((WARNING, new.failure.reason, "StartingAttempt", _text(new.failure)))
    return [_event(job.metadata, *each, now) for each in found]


def note_of(job: FineTuneJob, plan: Plan, now: datetime.datetime) -> dict[str, Any]:
    """Return an Event about something that the status does not show."""
    return _event(job.metadata, NORMAL, plan.note_reason, "CleaningUp", plan.note, now)


def unreadable_event(metadata: Identity, problem: str, now: datetime.datetime) -> dict[str, Any]:
    """Return the Event of a FineTuneJob that cannot be decoded."""
    text = (
        f"Operator {__version__} cannot read the FineTuneJob: {problem}. It does nothing for the "
        "job until that changes. A newer operator may have written the field: install that one "
        "again, or correct the field."
    )
    return _event(metadata, WARNING, c.UNREADABLE, "Reading", text, now)


def _end(status: Status) -> str:
    """Return why the job failed: the reason and message of its condition, and the remedy."""
    failed, failure = status.condition(c.FAILED), status.failure or Failure(reason="")
    reason = (failed and failed.reason) or failure.reason
    message = (failed and failed.message) or failure.message
    return f"{reason}: {_joined(message, failure.hint)}"


def _failed_attempt(new: Status, old: Status) -> AttemptRecord | None:
    """Return the attempt whose failure this change records."""
    ended = new.history[-1] if new.history[-1:] != old.history[-1:] else None
    return ended if ended and ended.reason not in NO_FAILURES else None


def _end_of(ended: AttemptRecord, failure: Failure | None) -> str:
    """Return what ended the attempt; the job may be suspended by now, or wait for another thing."""
    same = failure and failure.reason == ended.reason
    return f"Attempt {ended.number} ended: {_text(failure) if failure and same else ended.message}"


def refusal_of(job: FineTuneJob, error: Exception, now: datetime.datetime) -> dict[str, Any]:
    """Return an Event about a write that the API server refuses."""
    text = (
        "A write of the operator is refused, and is tried again: a policy, a webhook or missing "
        f"rights, as the message says. Until it succeeds the status may be old. {error}"
    )
    return _event(job.metadata, WARNING, c.WRITE_REFUSED, "Writing", text, now)


def _text(failure: Failure) -> str:
    return _joined(failure.message, failure.hint)


def _joined(message: str, hint: str) -> str:
    """Return both as sentences; the words of others often end without a full stop."""
    stop = "." if hint and message and message[-1] not in ".!?:;" else ""
    return f"{message}{stop} {hint}".strip()


def _phase_message(status: Status) -> str:
    if status.phase == "Complete":
        return f"Accuracy {status.accuracy} on the validation images."
    if status.phase == "Pending" and status.history and not status.current_attempt:
        return f"Attempt {status.history[-1].number} ended; the next one follows."
    number = status.current_attempt.number if status.current_attempt else status.attempts
    return f"Attempt {number}." if number else "The job was accepted."


def _event(
    metadata: Metadata | Identity,
    type: str,
    reason: str,
    action: str,
    message: str,
    now: datetime.datetime,
) -> dict[str, Any]:
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {
            "name": f"{metadata.name}.{uuid.uuid4().hex[:16]}",
            "namespace": metadata.namespace,
        },
        "eventTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "type": type,
        "reason": reason,
        "note": message.encode()[:1024].decode(errors="ignore"),  # the API server's limit, in bytes
        "action": action,
        "regarding": {
            "apiVersion": c.API_VERSION,
            "kind": c.KIND,
            "name": metadata.name,
            "namespace": metadata.namespace,
            "uid": metadata.uid,
            "resourceVersion": metadata.resource_version,
        },
        "reportingController": f"{c.GROUP}/operator",
        "reportingInstance": os.environ.get("HOSTNAME", "finetune-operator") + f"-{__version__}",
    }
