"""What the documentation points to is there."""

import re
from pathlib import Path

DOCS = [Path("README.md"), Path("CONTRIBUTING.md"), *sorted(Path("docs").rglob("*.md"))]


def test_tests_that_the_documentation_names_exist() -> None:
    code = "\n".join(path.read_text() for path in Path("tests").rglob("test_*.py"))
    defined = set(re.findall(r"def (test_\w+)\(", code))
    files = {path.stem for path in Path("tests").rglob("test_*.py")}
    named = {n for doc in DOCS for n in re.findall(r"`(test_\w+)`", doc.read_text())}
    assert len(named) > 30
    assert named - defined - files == set()


def test_files_that_the_documentation_links_to_exist() -> None:
    broken = [
        f"{doc}: {target}"
        for doc in DOCS
        for target in re.findall(r"\]\(([^)#]+)\)", doc.read_text())
        if "://" not in target and not (doc.parent / target).exists()
    ]
    assert not broken


def test_upgrades_take_the_defaults_of_new_values() -> None:
    # With --reuse-values a template finds no value that a release has added.
    assert not [doc for doc in DOCS if re.search(r"--reuse-values", doc.read_text())]
    assert "--reset-then-reuse-values" in Path("docs/operations.md").read_text()
