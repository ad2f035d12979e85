"""Renders deploy/argocd/argocd-cm.yaml, the Lua files as a patch of Argo CD's ConfigMap."""

from pathlib import Path
from textwrap import indent

from finetune_operator.api import constants as c

DIRECTORY = Path(__file__).parents[1] / "argocd"
OUTPUT = DIRECTORY / "argocd-cm.yaml"
KEY = f"{c.GROUP}_{c.KIND}"


def render() -> str:
    """The patch, with the health and the actions of a FineTuneJob."""
    actions = f"discovery.lua: |\n{_indented('actions/discovery.lua')}definitions:\n"
    for name in ("suspend", "resume"):
        text = indent(f"action.lua: |\n{_indented(f'actions/{name}/action.lua')}", "  ")
        actions += f"- name: {name}\n{text}"
    return (
        "# Rendered from the Lua files beside it by `make render`: change them, not this file.\n"
        "# kubectl -n argocd patch configmap argocd-cm --patch-file deploy/argocd/argocd-cm.yaml\n"
        "data:\n"
        f"  resource.customizations.health.{KEY}: |\n"
        f"{indent((DIRECTORY / 'health.lua').read_text(), '    ')}"
        f"  resource.customizations.actions.{KEY}: |\n"
        f"{indent(actions, '    ')}"
    )


def _indented(path: str) -> str:
    return indent((DIRECTORY / path).read_text(), "  ")


def main() -> None:
    """Write the patch."""
    OUTPUT.write_text(render())
