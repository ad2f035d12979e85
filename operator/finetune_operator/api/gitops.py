"""The tools that create a deleted object again, recognised by the marks that they leave on it."""

from collections.abc import Iterable

import msgspec

KEEPERS = {
    "argocd.argoproj.io": "Argo CD",
    "fluxcd.io": "Flux",
    "fluxcd.controlplane.io": "Flux",
    "fleet.cattle.io": "Fleet",
    "objectset.rio.cattle.io": "Fleet",
    "configsync.gke.io": "Config Sync",
    "configmanagement.gke.io": "Config Sync",
    "kapp.k14s.io": "kapp",
    "config.k8s.io": "kpt",
    "applyset.kubernetes.io": "an ApplySet",
    "addonmanager.kubernetes.io": "the addon manager",
    "app.oam.dev": "KubeVela",
    "crossplane.io": "Crossplane",
    "karmada.io": "Karmada",
    "kluctl.io": "Kluctl",
    "kro.run": "kro",
    "projectsveltos.io": "Sveltos",
    # It creates what it misses at the next upgrade.
    "meta.helm.sh": "Helm",
}
"""Tools by the domain of their labels and annotations; subdomains are theirs, too."""

INSTANCE = "app.kubernetes.io/instance"
"""The label by which Argo CD before 3.0 tracks objects; others set it, too.

https://argo-cd.readthedocs.io/en/stable/user-guide/resource_tracking/
"""


class Mark(msgspec.Struct, frozen=True):
    """A label or an annotation of a tool that creates a deleted object again."""

    tool: str
    """Name of the tool."""
    key: str
    """Key of the label or the annotation."""

    @property
    def note(self) -> str:
        """Text for the end of the time to live: the job stays, and how it can be deleted."""
        return (
            f"The time to live has passed. By {self.key}, {self.tool} manages the job and would "
            "create it again, so only its Jobs are deleted. If nothing manages the job, remove "
            f"{self.key}: the job is then deleted."
        )


def find_mark(labels: Iterable[str], annotations: Iterable[str]) -> Mark | None:
    """Return the mark of the tool that manages an object with these keys, if there is one.

    The label that others set, too, is the last to be asked. A job that is kept costs nothing; one
    that is deleted and created again trains for ever.
    """
    for key in sorted({*labels, *annotations}):
        domain, slash, _ = key.partition("/")
        if slash and (tool := _tool_of(domain)):
            return Mark(tool, key)
    return Mark("Argo CD", INSTANCE) if INSTANCE in labels else None


def _tool_of(domain: str) -> str:
    parts = domain.split(".")
    ends = (".".join(parts[start:]) for start in range(len(parts)))
    return next((KEEPERS[end] for end in ends if end in KEEPERS), "")
