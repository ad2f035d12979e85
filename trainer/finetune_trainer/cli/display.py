"""The display of a local run: a progress bar in a terminal, plain lines elsewhere."""

import contextlib
import sys
import time
from collections.abc import Iterator

from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn
from rich.text import Text

from finetune_trainer.cli.console import open_console
from finetune_trainer.run.printable import printable
from finetune_trainer.supervisor.child import Lines
from finetune_trainer.supervisor.run_status import RunStatus
from finetune_trainer.supervisor.supervisor import Display

_LINE_BYTES = 4096
_SECONDS_BETWEEN_LINES = 5


@contextlib.contextmanager
def open_display() -> Iterator[Display]:
    """Yield a display on standard output, for as long as the context lasts."""
    terminal = open_console()
    if not terminal.is_terminal:
        yield PlainDisplay()
        return
    columns = (
        SpinnerColumn(),
        # A fixed width: the bar must not jump with every stage and note.
        TextColumn("{task.description:<8}"),
        BarColumn(bar_width=20),
        TaskProgressColumn(),
        TextColumn("{task.fields[details]}", markup=False),
    )
    with Progress(*columns, console=terminal, transient=True) as progress:
        yield TerminalDisplay(progress)


class PlainDisplay:
    """Plain lines: the output of the stages, and every few seconds the progress."""

    def __init__(self) -> None:
        self._last = ""
        self._next = 0.0

    def output(self, data: bytes) -> None:
        """Print the output of a stage."""
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()

    def say(self, text: str) -> None:
        """Print a line."""
        print(text, flush=True)

    def update(self, run_status: RunStatus) -> None:
        """Print the progress, if it has changed."""
        details = _describe(run_status)
        if details not in ("", self._last) and time.monotonic() >= self._next:
            self._last, self._next = details, time.monotonic() + _SECONDS_BETWEEN_LINES
            self.say(f"{int(100 * run_status.fraction)} % done, {details}")


class TerminalDisplay:
    """A bar at the bottom; the output of the stages scrolls above it."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=1.0, details="")
        self._lines = Lines(lambda line: self.say(line.decode(errors="replace")), limit=_LINE_BYTES)

    def output(self, data: bytes) -> None:
        """Show each line that a stage printed."""
        self._lines.feed(data)

    def say(self, text: str) -> None:
        """Show a line."""
        line = Text(printable(text, keep="\t"), style="dim")
        self._progress.console.print(line, soft_wrap=True)

    def update(self, run_status: RunStatus) -> None:
        """Move the bar."""
        self._progress.update(
            self._task,
            completed=run_status.fraction,
            description=run_status.snapshot().stage,
            details=_describe(run_status),
        )


def _describe(run_status: RunStatus) -> str:
    """Return the note, the accuracy and the time left, as far as they are known."""
    progress = run_status.snapshot()
    status = progress.trainer_status
    accuracy = [m.value for m in status.metrics if m.name == "accuracy"]
    seconds = status.estimated_remaining_seconds
    parts = [run_status.note]
    parts += [f"accuracy {accuracy[0]}"] if accuracy else []
    parts += [f"{_duration(seconds)} left"] if seconds is not None else []
    return printable(", ".join(filter(None, parts)))


def _duration(seconds: int) -> str:
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min" if minutes else f"{rest} s"
