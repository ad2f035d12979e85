"""Prints the reason of a failure, in the same way for every verb."""

import sys
import traceback

from finetune_trainer.contract import ExitCode
from finetune_trainer.run.failure import explain
from finetune_trainer.run.printable import printable


def print_exception(exception: Exception) -> ExitCode:
    """Print the reason and the remedy, and for a bug its traceback; return the exit code."""
    error = explain(exception)
    if error.code is ExitCode.InternalError and error is not exception:
        traceback.print_exception(exception)
    print_error(error.code.name, error.message, error.hint)
    return error.code


def print_error(reason: str, message: str, hint: str) -> None:
    """Print an error to standard error."""
    text = f"{reason}: {message}\n{hint}".rstrip()
    print(printable(text, keep="\n"), file=sys.stderr)
