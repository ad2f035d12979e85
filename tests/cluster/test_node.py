"""What e2e tests and the demo rely on works on the nodes: network, DNS, volumes, limits, GPUs."""

import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.cluster.machine import Machine

pytestmark = [pytest.mark.node, pytest.mark.timeout(180)]
WEB = """
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {accessModes: [ReadWriteMany], resources: {requests: {storage: 1Gi}}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  nodeName: node-1
  terminationGracePeriodSeconds: 0
  securityContext: {runAsNonRoot: true, fsGroup: 65532}
  containers:
  - name: main
    image: localhost/busybox:1
    args: ["-c", "echo hello >/data/file; echo started; exec httpd -f -p 8080 -h /data"]
    volumeMounts: [{name: data, mountPath: /data, subPath: some/where}]
    readinessProbe: {httpGet: {path: /file, port: 8080}, periodSeconds: 1}
  volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]
---
apiVersion: v1
kind: Pod
metadata: {name: other}
spec:
  nodeName: node-2
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: localhost/busybox:1
    args: ["-c", "sleep 1000"]
    volumeMounts: [{name: data, mountPath: /data}]
  volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]
"""


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    with Machine() as machine:
        machine.cluster("up", "--nodes", "2", "--gpus", "4")
        machine.kubectl("apply", "--filename=-", text=WEB)
        machine.kubectl("wait", "--for=condition=Ready", "--timeout=60s", "pod", "--all")
        yield machine


def get(machine: Machine, kind: str, name: str) -> Any:
    return json.loads(machine.kubectl("get", kind, name, "--output=json"))


def run_pod(machine: Machine, name: str, script: str, **limits: str) -> None:
    resources = {"resources": {"limits": {key.replace("_", "/"): v for key, v in limits.items()}}}
    container = {"name": name, "image": "localhost/busybox:1", "args": ["-c", script], **resources}
    spec = {"containers": [container], "restartPolicy": "Never", "terminationGracePeriodSeconds": 0}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
    machine.kubectl("create", "--filename=-", text=json.dumps(pod))


def eventually(read: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not read():
        assert time.monotonic() < deadline, "waited 60 s"
        time.sleep(0.5)


def test_service_is_reached_by_name_from_the_other_node(machine: Machine) -> None:
    url = "http://web.default.svc.cluster.local/file"
    assert machine.kubectl("exec", "other", "--", "wget", "-qO-", url) == "hello\n"


def test_host_reaches_pod_and_service_addresses(machine: Machine) -> None:
    pod = get(machine, "pod", "web")["status"]["podIP"]
    service = get(machine, "service", "web")["spec"]["clusterIP"]
    for address in (f"{pod}:8080", service):
        assert machine.run("busybox", "wget", "-qO-", f"http://{address}/file") == "hello\n"


def test_pod_reaches_the_apiserver_by_its_service(machine: Machine) -> None:
    script = "nc -w 5 kubernetes.default.svc.cluster.local 443 </dev/null"
    machine.kubectl("exec", "other", "--", "sh", "-c", script)


def test_logs_show_what_a_pod_wrote(machine: Machine) -> None:
    assert machine.kubectl("logs", "web") == "started\n"


def test_volume_is_one_for_both_nodes_and_belongs_to_the_group(machine: Machine) -> None:
    shown = machine.kubectl("exec", "other", "--", "stat", "-c", "%g", "/data/some/where/file")
    assert shown == "65532\n"


def test_pod_beyond_its_memory_limit_is_reported_as_killed(machine: Machine) -> None:
    run_pod(machine, "greedy", "x=a; while true; do x=$x$x; done", memory="32Mi")
    machine.kubectl("wait", "--for=jsonpath={.status.phase}=Failed", "--timeout=60s", "pod/greedy")
    state = get(machine, "pod", "greedy")["status"]["containerStatuses"][0]["state"]
    assert (state["terminated"]["reason"], state["terminated"]["exitCode"]) == ("OOMKilled", 137)


def test_gpus_are_counted_by_the_scheduler(machine: Machine) -> None:
    for name in ("first", "second"):
        run_pod(machine, name, "sleep 1000", **{"nvidia.com_gpu": "3"})
        machine.kubectl("wait", "--for=condition=Ready", "--timeout=60s", f"pod/{name}")
    nodes = {get(machine, "pod", name)["spec"]["nodeName"] for name in ("first", "second")}
    assert nodes == {"node-1", "node-2"}
    run_pod(machine, "third", "sleep 1000", **{"nvidia.com_gpu": "3"})
    unscheduled = "--for=jsonpath={.status.conditions[0].reason}=Unschedulable"
    machine.kubectl("wait", unscheduled, "--timeout=60s", "pod/third")
    machine.kubectl("delete", "pod", "first", "second", "third")


def test_released_volume_is_offered_again_empty(machine: Machine) -> None:
    claim = re.sub("---.*", "", WEB, flags=re.DOTALL).replace("name: data", "name: short")
    machine.kubectl("create", "--filename=-", text=claim)
    machine.kubectl("wait", "--for=jsonpath={.status.phase}=Bound", "--timeout=30s", "pvc/short")
    volume = get(machine, "pvc", "short")["spec"]["volumeName"]
    path = get(machine, "pv", volume)["spec"]["local"]["path"]
    machine.run("touch", f"{path}/old")
    machine.kubectl("delete", "pvc", "short")
    eventually(lambda: volume in machine.cluster("recycle").split())
    eventually(lambda: get(machine, "pv", volume)["status"]["phase"] == "Available")
    assert machine.run("ls", path) == ""


def test_second_up_starts_nothing_anew(machine: Machine) -> None:
    def programs() -> set[str]:
        grep = "ps -e -o pid=,args= | grep /finetune-cluster-test/ | grep -v grep"
        return set(machine.run("sh", "-c", grep).splitlines())

    before = programs()
    machine.cluster("up")
    # Pods deleted above may still end: runc's short commands come and go meanwhile.
    eventually(lambda: programs() <= before)


@pytest.mark.slow
def test_pods_of_a_lost_node_are_given_up_and_the_node_comes_back(machine: Machine) -> None:
    machine.cluster("node-stop", "node-2")
    machine.kubectl("wait", "--for=condition=Ready=Unknown", "--timeout=60s", "node/node-2")
    eventually(lambda: "deletionTimestamp" in get(machine, "pod", "other")["metadata"])
    machine.cluster("node-start", "node-2")
    machine.kubectl("wait", "--for=delete", "--timeout=60s", "pod/other")
