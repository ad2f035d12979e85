"""The tools that create a deleted FineTuneJob again are known by every mark that they leave."""

import pytest
from finetune_operator.api.gitops import INSTANCE, find_mark


@pytest.mark.parametrize(
    ("key", "tool"),
    [
        ("argocd.argoproj.io/instance", "Argo CD"),
        ("argocd.argoproj.io/tracking-id", "Argo CD"),
        ("argocd.argoproj.io/installation-id", "Argo CD"),
        ("argocd.argoproj.io/sync-wave", "Argo CD"),
        ("kustomize.toolkit.fluxcd.io/name", "Flux"),
        ("kustomize.toolkit.fluxcd.io/namespace", "Flux"),
        ("helm.toolkit.fluxcd.io/name", "Flux"),
        ("resourceset.fluxcd.controlplane.io/name", "Flux"),
        ("fleet.cattle.io/bundle-id", "Fleet"),
        ("objectset.rio.cattle.io/hash", "Fleet"),
        ("objectset.rio.cattle.io/owner-name", "Fleet"),
        ("configsync.gke.io/declared-version", "Config Sync"),
        ("configmanagement.gke.io/managed", "Config Sync"),
        ("kapp.k14s.io/app", "kapp"),
        ("kapp.k14s.io/identity", "kapp"),
        ("config.k8s.io/owning-inventory", "kpt"),
        ("applyset.kubernetes.io/part-of", "an ApplySet"),
        ("addonmanager.kubernetes.io/mode", "the addon manager"),
        ("app.oam.dev/name", "KubeVela"),
        ("crossplane.io/composite", "Crossplane"),
        ("work.karmada.io/permanent-id", "Karmada"),
        ("kluctl.io/discriminator", "Kluctl"),
        ("kro.run/owned", "kro"),
        ("projectsveltos.io/owner-name", "Sveltos"),
        ("meta.helm.sh/release-name", "Helm"),
        ("meta.helm.sh/release-namespace", "Helm"),
    ],
)
def test_tool_is_known_by_its_label_and_by_its_annotation(key: str, tool: str) -> None:
    for labels, annotations in (({key}, ()), ((), {key})):
        mark = find_mark(labels, annotations)
        assert mark
        assert (mark.tool, mark.key) == (tool, key)


def test_label_that_others_set_too_is_taken_for_that_of_argo_cd() -> None:
    mark = find_mark({INSTANCE}, ())
    assert mark
    assert mark.tool == "Argo CD"
    assert f"remove {INSTANCE}: the job is then deleted" in mark.note


def test_label_that_others_set_too_does_not_hide_the_tool_that_is_certain() -> None:
    mark = find_mark({INSTANCE, "app.kubernetes.io/name"}, {"meta.helm.sh/release-name"})
    assert mark
    assert mark.tool == "Helm"


@pytest.mark.parametrize(
    "key",
    [
        "team",
        "app.kubernetes.io/name",
        "app.kubernetes.io/managed-by",
        "kubectl.kubernetes.io/last-applied-configuration",
        "kueue.x-k8s.io/queue-name",
        "workflows.argoproj.io/workflow",
        "helm.sh/hook",
        "notfluxcd.io/name",
        "argocd.argoproj.io.example.com/instance",
        "fluxcd.io",
    ],
)
def test_other_key_is_no_mark(key: str) -> None:
    assert find_mark({key}, {key}) is None


def test_annotation_of_the_label_is_no_mark() -> None:
    assert find_mark((), {INSTANCE}) is None
