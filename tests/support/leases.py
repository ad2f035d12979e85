"""A Lease for each start of an operator that tests begin and kill: it need not wait until that of
the last one has expired, and an API server that is away for a while does not end it.
"""

import uuid
from typing import Any

NAMESPACE = "test-leases"
TIMES = {
    "FINETUNE_OPERATOR_LEASE_DURATION_SECONDS": "120",
    "FINETUNE_OPERATOR_RENEW_DEADLINE_SECONDS": "90",
}


def settings_of_a_new_lease() -> dict[str, str]:
    """Return the environment of an operator that elects itself at once."""
    return {**TIMES, "FINETUNE_OPERATOR_LEASE": f"{NAMESPACE}/{uuid.uuid4()}"}


def access(accounts: str) -> list[dict[str, Any]]:
    """Return the objects that let the ServiceAccounts of a namespace have such Leases."""
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "operators"}
    group = {"kind": "Group", "name": f"system:serviceaccounts:{accounts}"}
    rule = {
        "apiGroups": ["coordination.k8s.io"],
        "resources": ["leases"],
        "verbs": ["get", "create", "patch"],
    }
    metadata = {"name": "operators", "namespace": NAMESPACE}
    version = "rbac.authorization.k8s.io/v1"
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {"apiVersion": version, "kind": "Role", "metadata": metadata, "rules": [rule]},
        {
            "apiVersion": version,
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": role,
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", **group}],
        },
    ]
