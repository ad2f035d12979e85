"""Finds the commands in the pages that a user reads: blocks of them, and whole ones in prose."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NOTES = "charts/finetune-operator/templates/NOTES.txt"
LANGUAGES = ("sh", "console")  # of fences around commands
PROGRAMS = (
    "apt-get",
    "docker",
    "finetune-trainer",
    "git",
    "helm",
    "kind",
    "kubectl",
    "make",
    "pip",
    "python",
    "python3.11",
    "sed",
    "venv/bin/finetune-trainer",
    "venv/bin/pip",
)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`]+)`")


@dataclass(frozen=True)
class Command:
    """One command: the shell's text of it, and where it stands."""

    page: str
    line: int
    text: str

    @property
    def program(self) -> str:
        """Its first word."""
        return self.text.split()[0]

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {self.text}"


def pages() -> list[str]:
    """Name the pages, the README first: what others say rests on it."""
    docs = sorted(path.relative_to(ROOT) for path in (ROOT / "docs").rglob("*.md"))
    return ["README.md", "CONTRIBUTING.md", "deploy/demo/README.md", *map(str, docs), NOTES]


def commands_of(page: str) -> list[Command]:
    """Return the page's commands in their order."""
    return commands_in((ROOT / page).read_text(), page=page)


def commands_in(text: str, *, page: str) -> list[Command]:
    """Return the commands of a text in their order."""
    found = indented(text, page) if page.endswith(".txt") else [*fenced(text, page)]
    # Notes of design are dated: what their prose names was so then.
    if page.endswith(".md") and not page.startswith("docs/design/"):
        found += inline(text, page)
    return sorted(found, key=lambda command: command.line)


def fenced(text: str, page: str) -> Iterator[Command]:
    """Yield the commands in fences; in one for a console they follow a prompt."""
    for fence in FENCE.finditer(text):
        language, content = fence.groups()
        if language not in LANGUAGES:
            continue
        lines = [
            (line_of(text, fence.start()) + n, x) for n, x in enumerate(content.split("\n"), 1)
        ]
        if language == "console":
            lines = [(number, x.removeprefix("$ ")) for number, x in lines if x.startswith("$ ")]
        yield from joined(lines, page)


def indented(text: str, page: str) -> list[Command]:
    """Return the commands of a plain text: its indented lines."""
    lines = [(n, line.strip()) for n, line in enumerate(text.split("\n"), 1) if line[:2] == "  "]
    return [*joined(lines, page)]


def inline(text: str, page: str) -> Iterator[Command]:
    """Yield the whole commands in a page's prose."""
    prose = FENCE.sub(lambda fence: re.sub(r"[^\n]", "", fence[0]), text)
    for quoted in INLINE.finditer(prose):
        words = quoted[1].split()
        if words[0] in PROGRAMS and not is_mention(words):
            yield Command(page, line_of(prose, quoted.start()), " ".join(words))


def is_mention(words: list[str]) -> bool:
    """Tell a program, or a verb of one, from a whole command: `kubectl apply` is a mention."""
    return len(words) < 2 or (len(words) == 2 and words[0] in ("docker", "helm", "kubectl", "pip"))


def joined(lines: list[tuple[int, str]], page: str) -> Iterator[Command]:
    """Yield a command for each line, or for lines that a backslash or a quotation joins."""
    start, text = 0, ""
    for number, line in lines:
        start, text = (start, f"{text}\n{line}") if text else (number, line)
        if text.endswith("\\"):
            continue
        try:
            words = shlex.split(text, comments=True)
        except ValueError:  # a quotation that goes on
            continue
        if words:
            yield Command(page, start, without_comment(text))
        text = ""
    assert not text, f"{page}:{start}: this command has no end: {text}"


def without_comment(text: str) -> str:
    """Return a command without the comment behind it, and in one line if it can be."""
    if "\n" not in text:
        return re.sub(r"\s+# .*$", "", text).strip()
    return re.sub(r"\s*\\\n\s*", " ", text).strip()


def line_of(text: str, position: int) -> int:
    """Return the number of the line of a position."""
    return text.count("\n", 0, position) + 1


def unmarked(text: str) -> list[str]:
    """Return lines with commands that stand in a block but not in one for commands."""
    blocks = [content for language, content in FENCE.findall(text) if language not in LANGUAGES]
    lines = [line for block in blocks for line in block.split("\n")]
    lines += re.findall(r"(?<=\n\n) {4}\S.*", FENCE.sub("", text))
    return [line for line in lines if line.strip() and line.split()[0] in (*PROGRAMS, "$")]
