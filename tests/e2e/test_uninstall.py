"""helm uninstall leaves the CRD and the FineTuneJobs, and nothing else."""

from tests.demo.clusters import Cluster
from tests.support.world import World, fine_tune_job

SELECTOR = "app.kubernetes.io/instance=second"
KINDS = "all,serviceaccounts,configmaps,secrets,roles,rolebindings,clusterroles,clusterrolebindings"


def test_uninstall_leaves_the_crd_and_its_resources(world: World, cluster: Cluster) -> None:
    # A second release beside the first, for a namespace that has no FineTuneJobs.
    chart = ("charts/finetune-operator", "--namespace", "second", "--create-namespace")
    image, _, tag = cluster.operator.rpartition(":")
    values = "crds.enabled=false,settings.namespaces={second}"
    values += f",image.repository={image},image.tag={tag}"
    cluster.run("helm", "install", "second", *chart, "--set", values, "--wait", "--timeout=2m")
    world.apply(fine_tune_job("kept", suspend=True))
    assert _names(world).count("second") >= 3
    cluster.run("helm", "uninstall", "second", "--namespace", "second", "--wait")
    world.wait("nothing of the release", lambda: not _names(world), seconds=60)
    assert world.kubectl("get", "crd", "finetunejobs.finetune-operator.dev").returncode == 0
    assert world.job("kept")["spec"]["suspend"]
    world.kubectl("delete", "namespace", "second", "--timeout=60s")


def _names(world: World) -> str:
    flags = ("--all-namespaces", "--selector", SELECTOR, "--output=name")
    return world.kubectl("get", KINDS, *flags).stdout
