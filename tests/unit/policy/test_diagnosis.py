"""Messages as Kubernetes 1.34 writes them, and what the user reads instead."""

import msgspec
import pytest
from finetune_operator.api import constants as c
from finetune_operator.api.kubernetes import (
    Condition,
    ContainerState,
    ContainerStatus,
    Event,
    EventSeries,
    Pod,
    Waiting,
)
from finetune_operator.policy.diagnosis import diagnose, gates

from tests.support.builders import (
    later,
    make_attempt,
    make_event,
    make_gated_pod,
    make_pod,
    make_waiting_pod,
)


def unscheduled(message: str, *, reason: str = "Unschedulable") -> Pod:
    condition = Condition(type="PodScheduled", status="False", reason=reason, message=message)
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
            unscheduled("0/2 nodes are available: 2 node(s) had volume node affinity conflict."),
            c.UNSCHEDULABLE,
            "volume node affinity conflict",
            "The claim's volume can be mounted only in its own zone",
            id="volume in another zone",
        ),
        pytest.param(
            unscheduled(
                "0/3 nodes are available: 1 Insufficient nvidia.com/gpu, 2 node(s) didn't match "
                "PersistentVolume's node affinity."
            ),
            c.UNSCHEDULABLE,
            "PersistentVolume's node affinity",
            "lower trainer.gpusPerNode, or wait. The claim's volume can be mounted only in",
            id="volume in another zone than the free GPUs",
        ),
        pytest.param(
            unscheduled("0/2 nodes are available: 2 node(s) didn't match pod anti-affinity rules."),
            c.UNSCHEDULABLE,
            "anti-affinity rules",
            "its message says why",
            id="affinity that is not the FineTuneJob's",
        ),
        pytest.param(
            unscheduled("0/1 nodes are available: 1 node(s) were unschedulable."),
            c.UNSCHEDULABLE,
            "were unschedulable",
            "uncordon",
            id="all nodes are cordoned",
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
            make_waiting_pod("ImageInspectError", "Failed to inspect image: deadline exceeded"),
            c.IMAGE_PULL_ERROR,
            "Failed to inspect image",
            "trainer.image",
            id="image that cannot be inspected",
        ),
        pytest.param(
            make_waiting_pod("SignatureValidationFailed", "image signature is not trusted"),
            c.IMAGE_PULL_ERROR,
            "SignatureValidationFailed: image signature is not trusted",
            "trainer.image",
            id="image without a signature",
        ),
        pytest.param(
            make_waiting_pod("RegistryUnavailable", "503"),
            c.IMAGE_PULL_ERROR,
            "RegistryUnavailable: 503",
            "trainer.image",
            id="registry",
        ),
        pytest.param(
            make_waiting_pod("CreateContainerConfigError", "image will run as root"),
            c.CONFIG_ERROR,
            "image will run as root",
            "trainer.securityContext",
            id="image of root",
        ),
        pytest.param(
            make_waiting_pod("WordOfANewKubelet", "Why it waits."),
            c.CONTAINER_ERROR,
            "WordOfANewKubelet: Why it waits.",
            "trainer.image",
            id="reason of a new kubelet",
        ),
        pytest.param(
            make_waiting_pod("WordOfANewKubelet"),
            c.CONTAINER_ERROR,
            "WordOfANewKubelet",
            "trainer.image",
            id="reason of a new kubelet without a message",
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


def waiting(container: str, reason: str, message: str = "") -> ContainerStatus:
    return ContainerStatus(
        name=container, state=ContainerState(waiting=Waiting(reason=reason, message=message))
    )


@pytest.mark.parametrize("kind", ["init_container_statuses", "container_statuses"])
def test_container_of_others_that_does_not_start_is_named(kind: str) -> None:
    pod = make_waiting_pod("PodInitializing")
    proxy = waiting("istio-proxy", "ImagePullBackOff", 'Back-off pulling image "proxy:1"')
    statuses = (proxy, *(pod.status.container_statuses if kind == "container_statuses" else ()))
    status = msgspec.structs.replace(pod.status, **{kind: statuses})
    failure = diagnose(make_attempt(1, msgspec.structs.replace(pod, status=status)))
    assert failure
    assert failure.reason == c.IMAGE_PULL_ERROR
    assert "'istio-proxy'" in failure.message
    assert 'pulling image "proxy:1"' in failure.message
    assert "what injects it" in failure.hint


def test_init_container_that_does_not_end_is_named_after_a_while() -> None:
    text = "containers with incomplete status: [vault-agent-init]"
    condition = Condition(type="Initialized", status="False", message=text)
    pod = make_pod("Pending", conditions=(condition,))
    assert diagnose(make_attempt(1, pod)) is None
    failure = diagnose(make_attempt(1, pod), (make_event("Started", "", type="Normal"),))
    assert failure
    assert failure.reason == c.POD_NOT_STARTING
    assert text in failure.message
    assert "kubectl logs pod-1 --all-containers" in failure.hint


def test_gates_of_a_pod_are_named_and_are_no_failure() -> None:
    pod = make_gated_pod("example.com/quota")
    assert diagnose(make_attempt(1, pod)) is None
    assert "example.com/quota" in gates(pod)
    assert "The controller that set them" in gates(pod)


def test_pod_whose_gates_were_just_removed_has_no_failure_before_the_scheduler_speaks() -> None:
    pod = unscheduled("Scheduling is blocked", reason="SchedulingGated")
    assert diagnose(make_attempt(1, pod)) is None


@pytest.mark.parametrize(
    ("event", "hint"),
    [
        pytest.param(
            make_event(
                "FailedCreate",
                'Error creating: pods "x" is forbidden: no PriorityClass with name high was found',
            ),
            "trainer.priorityClassName",
            id="priority class",
        ),
        pytest.param(
            make_event(
                "FailedCreate",
                'Error creating: pods "x" is forbidden: error looking up service account '
                'team/sa: serviceaccount "sa" not found',
            ),
            "trainer.serviceAccountName",
            id="service account",
        ),
        pytest.param(
            make_event(
                "FailedCreate",
                'Error creating: pods "x" is forbidden: pod rejected: RuntimeClass "gv" not found',
            ),
            "trainer.runtimeClassName",
            id="runtime class",
        ),
        pytest.param(
            make_event(
                "FailedCreate",
                'Error creating: pods "x" is forbidden: maximum memory usage per Container is 1Gi, '
                "but limit is 2Gi",
            ),
            "LimitRange",
            id="limit range",
        ),
        pytest.param(
            make_event(
                "FailedCreate",
                'Error creating: Pod "x" is invalid: spec.containers[0].resources.requests: '
                'Invalid value: "1Gi": must be less than or equal to memory limit of 256Mi',
            ),
            "set trainer.resources.limits",
            id="default limit of a limit range",
        ),
        pytest.param(
            make_event(
                "FailedCreate",
                'Error creating: Internal error occurred: failed calling webhook "inject.test": '
                "no endpoints available",
            ),
            "does not answer",
            id="webhook that is down",
        ),
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


@pytest.mark.parametrize(
    ("reason", "message", "hint"),
    [
        (
            "FailedCreatePodSandBox",
            'Failed to create pod sandbox: no runtime for "nvidia" is configured',
            "trainer.runtimeClassName",
        ),
        ("NetworkNotReady", "network is not ready: cni plugin not initialized", "kubectl describe"),
        ("WordOfANewKubelet", "Why it waits.", "kubectl describe pod pod-1"),
    ],
)
def test_warning_about_a_stuck_pod_is_reported_in_its_words(
    reason: str, message: str, hint: str
) -> None:
    pod = make_waiting_pod("ContainerCreating")
    failure = diagnose(make_attempt(1, pod), (make_event(reason, message),))
    assert failure
    assert (failure.reason, failure.message) == (c.POD_NOT_STARTING, f"{reason}: {message}")
    assert hint in failure.hint


def test_warning_is_over_when_the_pod_has_come_further() -> None:
    attempt = make_attempt(1, make_waiting_pod("ContainerCreating"))
    warned = make_event("FailedMount", "timed out", at=5)
    assert diagnose(attempt, (warned, make_event("Pulling", "", type="Normal", at=9))) is None
    assert diagnose(attempt, (warned, make_event("Scheduled", "", type="Normal", at=4)))


def test_warning_in_the_second_in_which_the_pod_was_scheduled_is_not_over() -> None:
    """A kubelet writes whole seconds, the scheduler fractions of them."""
    replace, pod = msgspec.structs.replace, make_waiting_pod("ContainerCreating")
    event = replace(make_event("FailedScheduling", ""), last_timestamp=None, event_time=later(4.2))
    scheduled = replace(event, type="Normal", reason="Scheduled", event_time=later(4.7))
    warned = make_event("FailedCreatePodSandBox", "no runtime is configured", at=4)
    failure = diagnose(make_attempt(1, pod), (event, scheduled, warned))
    assert failure
    assert failure.message == "FailedCreatePodSandBox: no runtime is configured"
    assert diagnose(make_attempt(1, pod), (event, scheduled)) is None


def test_warning_that_pods_get_which_start_hides_no_other() -> None:
    attempt = make_attempt(1, make_waiting_pod("ContainerCreating"))
    harmless = make_event("DNSConfigForming", "Search Line limits were exceeded", at=9)
    failure = diagnose(attempt, (make_event("FailedMount", "timed out", at=5), harmless))
    assert failure
    assert failure.message == "timed out"
    assert diagnose(attempt, (harmless,)) is None


def test_newest_event_is_found_whichever_recorder_wrote_it() -> None:
    event = make_event("FailedMount", "")
    replace, attempt = msgspec.structs.replace, make_attempt(1, make_waiting_pod(""))
    of_series = replace(
        event,
        message="series",
        last_timestamp=None,
        event_time=later(0),
        series=EventSeries(last_observed_time=later(9)),
    )
    once = replace(event, message="once", last_timestamp=None, event_time=later(5))
    counted = replace(event, message="counted", last_timestamp=later(7))
    timeless = replace(event, message="timeless", last_timestamp=None)
    found = [
        failure.message
        for events in ((once, of_series, counted), (once, counted), (timeless, once), (timeless,))
        if (failure := diagnose(attempt, events))
    ]
    assert found == ["series", "counted", "once", "timeless"]


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
