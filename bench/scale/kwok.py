"""Nodes and pods without machines, by KWOK (https://kwok.sigs.k8s.io): each pod is Running as soon
as it is bound, and Succeeded a second later, with the termination message of a trainer.

A pod has no address: nothing is there to be polled.
"""

import json
from typing import Any

import yaml
from finetune_operator.api import constants as c

from bench.population import Object, result_of
from tests.cluster import programs
from tests.cluster.controlplane import ControlPlane

RUN_MILLISECONDS = 1000
NOW = "{{ Now }}"


def start(plane: ControlPlane, *, pods: int) -> None:
    """Start KWOK, and add as many nodes as take so many pods of a CPU each."""
    programs.ensure(programs.KWOK)
    room = 0
    while room < pods:
        node = plane.add_node(f"node-{room:05}", labels={"kubernetes.io/os": "linux"})
        room += int(node["status"]["allocatable"]["cpu"])
    stages = plane.directory / "stages.yaml"
    stages.write_text(yaml.safe_dump_all([pod_runs(), pod_succeeds()]))
    # It only makes nodes ready, which these are; KWOK's default would report them again and again.
    node_stage = programs.KWOK.sources() / "kustomize/stage/node/fast/node-initialize.yaml"
    command = [f"{programs.KWOK.directory}/kwok", "--manage-all-nodes"]
    command += ["--node-lease-duration-seconds=0", f"--kubeconfig={plane.kubeconfig}"]
    plane.start(programs.KWOK.name, [*command, f"--config={stages}", f"--config={node_stage}"])


def pod_runs() -> Object:
    """Return the Stage of a pod that has a node."""
    running = {"running": {"startedAt": NOW}}
    conditions = [
        {"type": name, "status": "True", "lastTransitionTime": NOW}
        for name in ("Initialized", "ContainersReady", "Ready")
    ]
    status = {**_status("Running", running, ready=True), "startTime": NOW, "conditions": conditions}
    return _stage("pod-runs", phase="Pending", status=status)


def pod_succeeds() -> Object:
    """Return the Stage of a pod that runs."""
    terminated = {
        "exitCode": 0,
        "reason": "Completed",
        "startedAt": NOW,
        "finishedAt": NOW,
        # Plain Jobs have no trainer.
        "message": f"{{{{ with {_label(c.LABEL_JOB_UID)} }}}}{message()}{{{{ end }}}}",
    }
    status = _status("Succeeded", {"terminated": terminated}, ready=False)
    return _stage("pod-succeeds", phase="Running", status=status, delay=RUN_MILLISECONDS)


def message() -> str:
    """Return the template of a termination message: the operator takes none with other ids."""
    uid, attempt = _label(c.LABEL_JOB_UID), _label(c.LABEL_ATTEMPT)
    ids = {"uid": f"{{{{ {uid} }}}}", "podUid": "{{ $.metadata.uid }}", "attempt": 0}
    text = json.dumps({"job": ids, "result": result_of(1)}, separators=(",", ":"))
    return text.replace('"attempt":0', f'"attempt":{{{{ {attempt} }}}}')


def _label(name: str) -> str:
    return f"index $.metadata.labels `{name}`"


def _status(phase: str, state: Object, *, ready: bool) -> Object:
    container = {
        "name": c.CONTAINER,
        "image": "{{ (index .spec.containers 0).image }}",
        "ready": ready,
        "restartCount": 0,
        "state": state,
    }
    return {"phase": phase, "containerStatuses": [container]}


def _stage(name: str, *, phase: str, status: Object, delay: int = 0) -> Object:
    conditions: list[dict[str, Any]] = [
        {"key": ".metadata.deletionTimestamp", "operator": "DoesNotExist"},
        {"key": ".status.phase", "operator": "In", "values": [phase]},
    ]
    return {
        "apiVersion": "kwok.x-k8s.io/v1alpha1",
        "kind": "Stage",
        "metadata": {"name": name},
        "spec": {
            "resourceRef": {"apiGroup": "v1", "kind": "Pod"},
            "selector": {"matchExpressions": conditions},
            "delay": {"durationMilliseconds": delay},
            "next": {"statusTemplate": json.dumps(status)},
        },
    }
