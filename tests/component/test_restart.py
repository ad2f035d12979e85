"""An operator that is killed and started again goes on where it was."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.kubelet_world import KubeletWorld, result_of
from tests.support.operator_process import OperatorProcess
from tests.support.world import fine_tune_job

pytestmark = pytest.mark.timeout(90)


@pytest.fixture
def own_operator(quiet_world: KubeletWorld, operator_kubeconfig: Path) -> Iterator[OperatorProcess]:
    """An operator of this test's own, that watches only its namespace."""
    with OperatorProcess(operator_kubeconfig, namespaces=quiet_world.namespace) as process:
        yield process


def test_job_finishes_once_when_the_operator_is_killed_during_the_run(
    quiet_world: KubeletWorld, own_operator: OperatorProcess
) -> None:
    world = quiet_world
    job = world.apply(fine_tune_job())
    pod = world.wait_for_pod()
    world.run(pod)
    own_operator.kill()
    world.exit(pod, 0, result_of(pod, job))
    own_operator.start()
    status = world.wait_for_phase("Complete")
    assert (status["attempts"], status["accuracy"]) == (1, "0.8704")
    assert len(world.items("jobs")) == 1


def test_terminal_job_creates_nothing_when_its_children_are_deleted(
    quiet_world: KubeletWorld, own_operator: OperatorProcess
) -> None:
    world = quiet_world
    job = world.apply(fine_tune_job())
    pod = world.wait_for_pod()
    world.exit(pod, 0, result_of(pod, job))
    world.wait_for_phase("Complete")
    world.kubectl("delete", "job", "--all", "--cascade=foreground")
    own_operator.kill()
    own_operator.start()
    with pytest.raises(AssertionError, match="waited"):
        world.wait("a new Job", lambda: world.items("jobs"), seconds=3)
    assert world.job()["status"]["accuracy"] == "0.8704"


def test_job_deleted_while_the_operator_is_down_is_forgotten(
    quiet_world: KubeletWorld, own_operator: OperatorProcess
) -> None:
    world = quiet_world
    world.apply(fine_tune_job())
    world.wait_for_pod()
    own_operator.kill()
    world.delete()
    own_operator.start()
    assert 'name="photos"' not in own_operator.get("/metrics")
