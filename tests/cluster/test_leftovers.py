"""The cluster tool leaves nothing behind, and starts from whatever a crash left."""

from collections.abc import Iterator

import pytest

from tests.cluster.machine import Machine

POD_WITH_VOLUME = """
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {accessModes: [ReadWriteMany], resources: {requests: {storage: 1Gi}}}
---
apiVersion: v1
kind: Pod
metadata: {name: writer}
spec:
  nodeName: node-1
  securityContext: {fsGroup: 65532}
  containers:
  - name: main
    image: localhost/busybox:1
    args: ["-c", "echo written >/data/file; sleep 1000"]
    volumeMounts: [{name: data, mountPath: /data, subPath: some/where}]
  volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]
"""
pytestmark = [pytest.mark.node, pytest.mark.timeout(240)]
ALL_PROGRAMS = (
    "etcd",
    "kube-apiserver",
    "kube-controller",
    "kube-scheduler",
    "kube-proxy",
    "kubelet",
    "coredns",
    "containerd",
)


@pytest.fixture
def machine() -> Iterator[Machine]:
    with Machine() as machine:
        yield machine


def start_with_pod(machine: Machine, *, nodes: int) -> None:
    machine.cluster("up", "--nodes", str(nodes))
    machine.kubectl("apply", "-f", "-", text=POD_WITH_VOLUME)
    machine.kubectl("wait", "--for=condition=Ready", "--timeout=60s", "pod", "--all")


Traces = dict[str, set[tuple[str, int]]]


def changes(before: Traces, after: Traces) -> Traces:
    return {name: before[name] ^ after[name] for name in before if before[name] != after[name]}


def test_down_leaves_nothing_behind(machine: Machine) -> None:
    before = machine.traces()
    start_with_pod(machine, nodes=2)
    assert changes(before, machine.traces()).keys() == before.keys()
    machine.cluster("down")
    assert changes(before, machine.traces()) == {}


def test_down_after_a_crash_leaves_nothing_behind(machine: Machine) -> None:
    before = machine.traces()
    start_with_pod(machine, nodes=1)
    machine.crash(*ALL_PROGRAMS)
    machine.cluster("down")
    assert changes(before, machine.traces()) == {}
    machine.cluster("down")
    assert changes(before, machine.traces()) == {}


def test_up_after_a_crash_keeps_the_pods(machine: Machine) -> None:
    start_with_pod(machine, nodes=1)
    machine.kubectl("exec", "writer", "--", "sh", "-c", "echo x >/tmp/only-here")
    machine.crash(*ALL_PROGRAMS)
    machine.cluster("up")
    machine.kubectl("exec", "writer", "--", "cat", "/data/file", "/tmp/only-here")
    # The kubelet has looked at its pods again when it starts a new one.
    machine.kubectl("run", "second", "--image=localhost/busybox:1", "--", "-c", "sleep 60")
    machine.kubectl("wait", "--for=condition=Ready", "--timeout=60s", "pod", "--all")
    machine.kubectl("exec", "writer", "--", "cat", "/tmp/only-here")
