"""Generate every generated file: `python -m deploy.render [--check]`, from the repository root."""

import sys
from pathlib import Path

from finetune_trainer.contract.schema import contract_schema

from deploy.render import argocd, crd, dashboards, operator_yaml

SCHEMA = Path("docs/trainer-contract.schema.json")
OUTPUTS = (
    crd.TARGET,
    SCHEMA,
    *dashboards.PLACES,
    argocd.OUTPUT,
    operator_yaml.ALERTS_IN_CHART,
    operator_yaml.OUTPUT,
)


def main() -> None:
    """Render in the order of their needs; with --check, fail if a file was not current."""
    before = [_content(path) for path in OUTPUTS]
    crd.TARGET.write_text(crd.render())
    SCHEMA.write_text(contract_schema())
    dashboards.main()
    argocd.main()
    operator_yaml.main()
    changed = [
        str(path) for path, old in zip(OUTPUTS, before, strict=True) if _content(path) != old
    ]
    if "--check" in sys.argv and changed:
        sys.exit(f"not current, run `make render` and commit: {', '.join(changed)}")


def _content(path: Path) -> str:
    return path.read_text() if path.exists() else ""


main()
