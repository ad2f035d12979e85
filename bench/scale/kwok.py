"""Nodes and pods without machines, by KWOK (https://kwok.sigs.k8s.io): each pod is Running as soon
as it is bound, and Succeeded a second later, with the termination message of a trainer.

A pod that holds runs until all are let go, at an address where trainers can be played. The others
have none: nothing is there to be polled.
"""

import ipaddress
import json
from typing import Any

import yaml
from finetune_operator.api import constants as c

from bench.population import Object, result_of
from bench.scale.work import HOLDS
from tests.cluster import programs
from tests.cluster.controlplane import ControlPlane

RUN_MILLISECONDS = 1000
NOW = "{{ Now }}"
ADDRESS = "{{ PodIPWith .spec.nodeName false .metadata.uid .metadata.name .metadata.namespace }}"
NETWORK = ipaddress.ip_network("127.128.0.0/16")
"""Of the pods: like all of 127.0.0.0/8 it is this machine."""


def start(plane: ControlPlane, *, pods: int) -> None:
    """Start KWOK, and add as many nodes as take so many pods of a CPU each."""
    programs.ensure(programs.KWOK)
    room = 0
    while room < pods:
        node = plane.add_node(f"node-{room:05}", labels={"kubernetes.io/os": "linux"})
        room += int(node["status"]["allocatable"]["cpu"])
    _run(plane, [pod_runs(), pod_holds(), pod_succeeds()])


def let_go(plane: ControlPlane, *, within_seconds: float) -> None:
    """Let all pods end, each at some moment of this time."""
    plane.end(programs.KWOK.name)
    ends = pod_succeeds(delay=0, jitter=int(1000 * within_seconds), held=True)
    _run(plane, [pod_runs(), pod_holds(), pod_succeeds(), ends])


def _run(plane: ControlPlane, stages: list[Object]) -> None:
    file = plane.directory / "stages.yaml"
    file.write_text(yaml.safe_dump_all(stages))
    # It only makes nodes ready, which these are; KWOK's default would report them again and again.
    node_stage = programs.KWOK.sources() / "kustomize/stage/node/fast/node-initialize.yaml"
    command = [f"{programs.KWOK.directory}/kwok", "--manage-all-nodes"]
    command += ["--node-lease-duration-seconds=0", f"--kubeconfig={plane.kubeconfig}"]
    command += [f"--cidr={NETWORK}", f"--config={file}", f"--config={node_stage}"]
    plane.start(programs.KWOK.name, command)


def pod_runs() -> Object:
    """Return the Stage of a pod that has a node."""
    return _stage("pod-runs", phase="Pending", status=_running())


def pod_holds() -> Object:
    """Return the Stage of one that will run until it is let go."""
    # Not podIPs, too: each use of the template is another address. The API server adds it.
    return _stage("pod-holds", phase="Pending", status={**_running(), "podIP": ADDRESS}, held=True)


def _running() -> Object:
    running = {"running": {"startedAt": NOW}}
    conditions = [
        {"type": name, "status": "True", "lastTransitionTime": NOW}
        for name in ("Initialized", "ContainersReady", "Ready")
    ]
    started = {"startTime": NOW, "conditions": conditions}
    return {**_status("Running", running, ready=True), **started}


def pod_succeeds(
    *, delay: int = RUN_MILLISECONDS, jitter: int | None = None, held: bool = False
) -> Object:
    """Return the Stage of a pod that runs: it ends between two numbers of milliseconds."""
    terminated = {
        "exitCode": 0,
        "reason": "Completed",
        "startedAt": NOW,
        "finishedAt": NOW,
        # Plain Jobs have no trainer.
        "message": f"{{{{ with {_label(c.LABEL_JOB_UID)} }}}}{message()}{{{{ end }}}}",
    }
    status = _status("Succeeded", {"terminated": terminated}, ready=False)
    stage = _stage("pod-succeeds", phase="Running", status=status, held=held)
    until = {} if jitter is None else {"jitterDurationMilliseconds": jitter}
    stage["spec"]["delay"] = {"durationMilliseconds": delay, **until}
    return stage


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


def _stage(name: str, *, phase: str, status: Object, held: bool = False) -> Object:
    holds = "Exists" if held else "DoesNotExist"
    conditions: list[dict[str, Any]] = [
        {"key": f'.metadata.labels["{HOLDS}"]', "operator": holds},
        {"key": ".metadata.deletionTimestamp", "operator": "DoesNotExist"},
        {"key": ".status.phase", "operator": "In", "values": [phase]},
    ]
    return {
        "apiVersion": "kwok.x-k8s.io/v1alpha1",
        "kind": "Stage",
        "metadata": {"name": f"{name}-held" if held else name},
        "spec": {
            "resourceRef": {"apiGroup": "v1", "kind": "Pod"},
            "selector": {"matchExpressions": conditions},
            "next": {"statusTemplate": json.dumps(status)},
        },
    }
