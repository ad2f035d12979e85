"""What users get wrong is told in words they can act on, and costs nothing else."""

from tests.e2e.conftest import sample
from tests.support.world import World, condition


def test_hostile_photos_are_handled_or_named(world: World) -> None:
    source = {"source": {"uri": "pvc://photos/hostile"}, "badImages": {"maxFraction": "0.5"}}
    world.apply(sample("finetunejob", dataset=source))
    status = world.wait_for_phase("Complete", seconds=120)
    log = world.kubectl("logs", world.pods()[0]["metadata"]["name"]).stdout
    for name in ("truncated.jpg", "text.jpg", "zero.jpg", "nested.jpg", "empty"):
        assert name in log, f"{name} is not named in the log"
    for name in ("modern.webp", "transparent.png", "palette.png", "rotated.jpg", "animated.gif"):
        assert f"{name}:" not in log, f"{name} was rejected"
    assert status["dataset"]["classes"] == 2
    assert status["dataset"]["rejectedImages"] >= 3


def test_one_class_is_refused_with_its_name(world: World) -> None:
    world.apply(sample("finetunejob", dataset={"source": {"uri": "pvc://photos/one-class"}}))
    status = world.wait_for_phase("Failed", seconds=60)
    assert status["failure"]["reason"] == "InvalidData"
    assert "red" in status["failure"]["message"]
    assert status["failure"]["hint"]
    assert status["attempts"] == 1


def test_missing_folder_is_named(world: World) -> None:
    world.apply(sample("finetunejob", dataset={"source": {"uri": "pvc://photos/nowhere"}}))
    status = world.wait_for_phase("Failed", seconds=60)
    assert status["failure"]["reason"] == "InputNotFound"
    assert "nowhere" in status["failure"]["message"]


def test_missing_claim_is_named_within_seconds(world: World) -> None:
    world.apply(sample("finetunejob", dataset={"source": {"uri": "pvc://fotos"}}))
    failure = world.wait_for_failure("ClaimNotFound", seconds=30)
    assert "'fotos'" in failure["message"]
    assert failure["hint"]


def test_missing_image_is_named_within_seconds(world: World) -> None:
    trainer = {"gpusPerNode": 0, "image": "registry.invalid/trainer:1"}
    world.apply(sample("finetunejob", trainer=trainer))
    failure = world.wait_for_failure("ImagePullError", seconds=60)
    assert "registry.invalid/trainer:1" in failure["message"]
    assert "trainer.image" in failure["hint"]


def test_gpus_are_asked_for_and_their_absence_is_told(world: World) -> None:
    world.apply(sample("gpu"))
    pod = world.wait_for_pod(1, "gpu")
    assert pod["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "2"
    assert "nvidia.com/gpu.compute.major" in str(pod["spec"]["affinity"])
    assert condition(pod["status"], "PodScheduled")["status"] == "True"
    other = sample("gpu")
    other["metadata"]["name"] = "more"
    other["spec"]["trainer"]["gpusPerNode"] = 3
    other["spec"]["dataset"]["prepare"] = "Inline"
    world.apply(other)
    failure = world.wait_for_failure("Unschedulable", "more", seconds=30)
    assert "Insufficient nvidia.com/gpu" in failure["message"]
    assert "gpusPerNode" in failure["hint"]


def test_too_little_memory_is_told(world: World) -> None:
    resources = {"requests": {"cpu": "1"}, "limits": {"memory": "250Mi"}}
    trainer = {"gpusPerNode": 0, "resources": resources}
    world.apply(sample("finetunejob", trainer=trainer, backoffLimit=0))
    status = world.wait_for_phase("Failed", seconds=90)
    assert status["failure"]["reason"] == "OutOfMemory"
    assert "trainer.resources.limits.memory" in status["failure"]["hint"]
