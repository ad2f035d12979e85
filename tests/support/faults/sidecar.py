"""A small stand-in for a service mesh: pods with a label get a container beside the trainer's.

A mesh injects by a mutating webhook; here a mutating admission policy does the same.
"""

from tests.cluster.client import Api
from tests.support.world import Object

LABEL = "example.com/mesh"
NAME = "mesh-proxy"
_PATH = "/apis/admissionregistration.k8s.io/v1beta1"
_TYPE = "Object.spec.containers"
_CONTEXT = f"{_TYPE}.securityContext"
_CONTAINER = (
    f"{_TYPE}{{name: '{NAME}', image: 'example.test/proxy:1', "
    f"securityContext: {_CONTEXT}{{allowPrivilegeEscalation: false, runAsNonRoot: true, "
    f"capabilities: {_CONTEXT}.capabilities{{drop: ['ALL']}}}}}}"
)
_POLICY: Object = {
    "metadata": {"name": "mesh"},
    "spec": {
        "matchConstraints": {
            "resourceRules": [
                {
                    "apiGroups": [""],
                    "apiVersions": ["v1"],
                    "operations": ["CREATE"],
                    "resources": ["pods"],
                }
            ]
        },
        "matchConditions": [
            {
                "name": "in-the-mesh",
                "expression": f"has(object.metadata.labels) && '{LABEL}' in object.metadata.labels",
            }
        ],
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "mutations": [
            {
                "patchType": "JSONPatch",
                "jsonPatch": {
                    "expression": (
                        f"[JSONPatch{{op: 'add', path: '/spec/containers/-', value: {_CONTAINER}}}]"
                    )
                },
            }
        ],
    },
}
_BINDING: Object = {"metadata": {"name": "mesh"}, "spec": {"policyName": "mesh"}}


def install(api: Api) -> None:
    """Have the API server inject the container from now on."""
    api.request("POST", f"{_PATH}/mutatingadmissionpolicies", _POLICY)
    api.request("POST", f"{_PATH}/mutatingadmissionpolicybindings", _BINDING)
