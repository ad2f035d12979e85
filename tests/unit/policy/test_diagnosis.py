"""Messages as Kubernetes 1.34 writes them, and what the user reads instead."""

import pytest
from finetune_operator.api import constants as c
from finetune_operator.api.kubernetes import Condition, Event, Pod
from finetune_operator.policy.diagnosis import diagnose

from tests.support.builders import make_attempt, make_event, make_pod, make_waiting_pod


def unscheduled(message: str) -> Pod:
    condition = Condition(
        type="PodScheduled", status="False", reason="Unschedulable", message=message
    )
    return make_pod("Pending", conditions=(condition,))


@pytest.mark.parametrize(
    ("pod", "reason", "message", "hint"),
    [
        pytest.param(
            unscheduled(
                "0/3 nodes are available: 3 Insufficient nvidia.com/gpu. no new claims to "
                "deallocate, preemption: 0/3 nodes are available: 3 No preemption victims found "
                "for incoming pod."
            ),
            c.UNSCHEDULABLE,
            "3 Insufficient nvidia.com/gpu",
            "enough free nvidia.com/gpu: lower trainer.gpusPerNode",
            id="no free GPUs",
        ),
        pytest.param(
            unscheduled(
                "0/2 nodes are available: 1 Insufficient memory, 1 node(s) had untolerated taint "
                "{node-role.kubernetes.io/control-plane: }."
            ),
            c.UNSCHEDULABLE,
            "Insufficient memory",
            "enough free memory: lower trainer.resources",
            id="no free memory",
        ),
        pytest.param(
            unscheduled(
                "0/2 nodes are available: 1 Insufficient cpu, 2 Insufficient nvidia.com/gpu."
            ),
            c.UNSCHEDULABLE,
            "Insufficient cpu",
            "cpu and nvidia.com/gpu: lower trainer.gpusPerNode and trainer.resources",
            id="neither processors nor GPUs",
        ),
        pytest.param(
            unscheduled(
                "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector. "
                "preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
            ),
            c.UNSCHEDULABLE,
            "node affinity/selector",
            "trainer.nodeSelector",
            id="no node has the labels",
        ),
        pytest.param(
            unscheduled(
                "0/1 nodes are available: 1 node(s) had untolerated taint {dedicated: ml}."
            ),
            c.UNSCHEDULABLE,
            "untolerated taint",
            "trainer.tolerations",
            id="all nodes are tainted",
        ),
        pytest.param(
            unscheduled("no nodes available to schedule pods"),
            c.UNSCHEDULABLE,
            "no nodes available",
            "its message says why",
            id="no nodes",
        ),
        pytest.param(
            unscheduled(
                '0/1 nodes are available: persistentvolumeclaim "fotos" not found. preemption: '
                "0/1 nodes are available: 1 Preemption is not helpful for scheduling."
            ),
            c.CLAIM_NOT_FOUND,
            "no PersistentVolumeClaim 'fotos' in namespace team",
            "Create the claim 'fotos'",
            id="wrong claim name",
        ),
        pytest.param(
            unscheduled(
                "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims. "
                "preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
            ),
            c.CLAIM_NOT_BOUND,
            "unbound immediate PersistentVolumeClaims",
            "kubectl describe pvc",
            id="claim without a volume",
        ),
        pytest.param(
            make_waiting_pod(
                "ErrImagePull",
                'failed to pull and unpack image "ghcr.test/me/trainer:typo": not found',
            ),
            c.IMAGE_PULL_ERROR,
            "ghcr.test/me/trainer:typo",
            "trainer.image",
            id="image is not there",
        ),
        pytest.param(
            make_waiting_pod("ImagePullBackOff"),
            c.IMAGE_PULL_ERROR,
            "cannot be pulled (ImagePullBackOff)",
            "imagePullSecrets",
            id="image, without a message",
        ),
        pytest.param(
            make_waiting_pod("InvalidImageName", 'couldn\'t parse image name "A B": invalid'),
            c.IMAGE_PULL_ERROR,
            "couldn't parse",
            "trainer.image",
            id="no image name",
        ),
        pytest.param(
            make_waiting_pod("CreateContainerConfigError", 'secret "s3-keys" not found'),
            c.CONFIG_ERROR,
            'secret "s3-keys" not found',
            "Create the Secret",
            id="secret is not there",
        ),
        pytest.param(
            make_waiting_pod(
                "RunContainerError",
                'failed to create containerd task: exec: "python": executable file not found',
            ),
            c.CONTAINER_ERROR,
            "executable file not found",
            "trainer.image",
            id="image without the program",
        ),
    ],
)
def test_pod_that_does_not_start(pod: Pod, reason: str, message: str, hint: str) -> None:
    failure = diagnose(make_attempt(1, pod))
    assert failure
    assert failure.reason == reason
    assert message in failure.message
    assert hint in failure.hint
    assert failure.pod == pod.metadata.name


@pytest.mark.parametrize(
    "pod",
    [
        pytest.param(make_waiting_pod("ContainerCreating"), id="container being created"),
        pytest.param(make_pod("Pending"), id="just made"),
        pytest.param(
            make_pod("Pending", conditions=(Condition(type="PodScheduled", status="True"),)),
            id="scheduled",
        ),
    ],
)
def test_pod_that_is_on_its_way_is_well(pod: Pod) -> None:
    assert diagnose(make_attempt(1, pod)) is None


@pytest.mark.parametrize(
    ("event", "hint"),
    [
        pytest.param(
            make_event(
                "FailedCreate",
                'Error creating: pods "photos-1-7k2px" is forbidden: exceeded quota: gpus, '
                "requested: requests.nvidia.com/gpu=2, used: requests.nvidia.com/gpu=7, "
                "limited: requests.nvidia.com/gpu=8",
            ),
            "ResourceQuota",
            id="quota",
        ),
        pytest.param(
            make_event(
                "FailedCreate",
                'Error creating: pods "photos-1-7k2px" is forbidden: violates PodSecurity '
                '"restricted:latest": runAsNonRoot != true (pod or container "istio-init" must '
                "set securityContext.runAsNonRoot=true)",
            ),
            "pod-security labels",
            id="pod security",
        ),
        pytest.param(
            make_event(
                "FailedCreate",
                'Error creating: admission webhook "policy.test" denied the request: no tag',
            ),
            "admission policy",
            id="webhook",
        ),
    ],
)
def test_pod_that_is_refused_is_told_from_the_jobs_events(event: Event, hint: str) -> None:
    failure = diagnose(make_attempt(1), (event,))
    assert failure
    assert (failure.reason, failure.message) == (c.CREATE_REFUSED, event.message)
    assert hint in failure.hint


@pytest.mark.parametrize("reason", ["FailedMount", "FailedAttachVolume"])
def test_volume_that_cannot_be_mounted_is_told_from_the_pods_events(reason: str) -> None:
    text = 'MountVolume.SetUp failed for volume "claim-0": mount failed: exit status 32'
    pod = make_waiting_pod("ContainerCreating")
    failure = diagnose(make_attempt(1, pod), (make_event(reason, text),))
    assert failure
    assert (failure.reason, failure.message, failure.pod) == (c.MOUNT_FAILED, text, "pod-1")


def test_kubelet_that_was_too_early_is_no_failure() -> None:
    text = (
        'failed to fetch PVC from API server: persistentvolumeclaims "photos" is forbidden: '
        "no relationship found between node 'node-1' and this object"
    )
    pod = make_waiting_pod("ContainerCreating")
    assert diagnose(make_attempt(1, pod), (make_event("FailedMount", text),)) is None


def test_scheduler_is_quoted_only_for_what_is_missing() -> None:
    message = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."
    more = "no new claims to deallocate, preemption: 0/1 nodes are available: 1 No victims found."
    failure = diagnose(make_attempt(1, unscheduled(f"{message} {more}")))
    assert failure
    assert failure.message == message


def test_newest_warning_counts_and_other_events_do_not() -> None:
    events = (
        make_event("FailedCreate", "new", at=9),
        make_event("FailedCreate", "old", at=1),
        make_event("FailedCreate", "normal", at=99, type="Normal"),
        make_event("SuccessfulCreate", "other", at=99),
    )
    failure = diagnose(make_attempt(1), events)
    assert failure
    assert failure.message == "new"
    assert diagnose(make_attempt(1), events[2:]) is None
