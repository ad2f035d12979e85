"""What operators have asked of an API server, by its audit log."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Right = tuple[str, str, str]
"""API group, resource or resource/subresource, verb."""
OPERATORS = "system:serviceaccounts:finetune-system"
"""The group of users that is worth logging."""


@dataclass(frozen=True)
class Request:
    """One request for a resource."""

    user: str
    right: Right
    namespace: str
    at: str
    forbidden: bool
    agent: str
    """The user agent: programs may share a user."""


def requests(log: Path) -> list[Request]:
    """Read the log; a line that is being written is left out."""
    if not log.exists():
        return []
    lines = log.read_text().splitlines(keepends=True)
    entries = [json.loads(line) for line in lines if line.endswith("\n")]
    return [_request(entry) for entry in entries if "resource" in entry.get("objectRef", {})]


def rights(rules: Iterable[dict[str, Any]]) -> set[Right]:
    """Return what the rules of a role allow."""
    return {
        (group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def _request(entry: dict[str, Any]) -> Request:
    about = entry["objectRef"]
    resource = "/".join(filter(None, (about["resource"], about.get("subresource"))))
    decision = entry.get("annotations", {}).get("authorization.k8s.io/decision")
    return Request(
        user=entry["user"]["username"],
        right=(about.get("apiGroup", ""), resource, entry["verb"]),
        namespace=about.get("namespace", ""),
        at=entry["requestReceivedTimestamp"],
        forbidden=decision == "forbid",
        agent=entry.get("userAgent", ""),
    )
