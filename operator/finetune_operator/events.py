"""The Events of a FineTuneJob, derived from the change of its status."""

import datetime
import os
import uuid
from typing import Any

from finetune_operator import __version__
from finetune_operator.api import constants as c
from finetune_operator.api.types import Failure, FineTuneJob, Status

WARNING, NORMAL = "Warning", "Normal"


def events_of(job: FineTuneJob, new: Status, now: datetime.datetime) -> list[dict[str, Any]]:
    """Return the Events of a change: a new phase, an ended attempt, a new diagnosis."""
    old, found = job.status, []
    if new.phase != old.phase and new.phase:
        warns = new.phase == "Failed"
        message = (new.failure.message if warns and new.failure else "") or _phase_message(new)
        found.append((WARNING if warns else NORMAL, f"{c.KIND}{new.phase}", message))
    if len(new.history) and new.history[-1:] != old.history[-1:] and new.failure:
        message = f"Attempt {new.history[-1].number} ended: {_text(new.failure)}"
        found.append((WARNING, new.failure.reason, message))
    elif new.failure and new.phase != "Failed" and _differs(new, old):
        found.append((WARNING, new.failure.reason, _text(new.failure)))
    return [_event(job, *each, now) for each in found]


def note_of(job: FineTuneJob, text: str, now: datetime.datetime) -> dict[str, Any]:
    """Return an Event about something that the status does not show."""
    return _event(job, NORMAL, c.TIME_TO_LIVE_ENDED, text, now)


def refusal_of(job: FineTuneJob, error: Exception, now: datetime.datetime) -> dict[str, Any]:
    """Return an Event about a write that the API server refuses."""
    text = (
        "A write of the operator is refused, and is tried again: a policy, a webhook or missing "
        f"rights, as the message says. Until it succeeds the status may be old. {error}"
    )
    return _event(job, WARNING, c.WRITE_REFUSED, text, now)


def _text(failure: Failure) -> str:
    return f"{failure.message} {failure.hint}".strip()


def _differs(new: Status, old: Status) -> bool:
    before = old.failure.reason if old.failure else ""
    return new.failure is not None and new.failure.reason != before


def _phase_message(status: Status) -> str:
    if status.phase == "Complete":
        return f"Accuracy {status.accuracy} on the validation images."
    number = status.current_attempt.number if status.current_attempt else status.attempts
    return f"Attempt {number}." if number else "The job was accepted."


def _event(
    job: FineTuneJob, type: str, reason: str, message: str, now: datetime.datetime
) -> dict[str, Any]:
    metadata = job.metadata
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
        "action": "Reconcile",
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
