"""Prints the reason of a failure, in the same way for every verb."""

import sys
import traceback

from finetune_trainer.contract import ExitCode
from finetune_trainer.run.failure import explain


def print_exception(exception: Exception) -> ExitCode:
    """Print the reason and the remedy, and for a bug its traceback; return the exit code."""
    error = explain(exception)
    if error.code is ExitCode.InternalError and error is not exception:
        traceback.print_exception(exception)
    print_error(error.code.name, error.message, error.hint)
    return error.code


def print_error(reason: str, message: str, hint: str) -> None:
    """Print an error to standard error."""
    print(f"{reason}: {message}\n{hint}".rstrip(), file=sys.stderr)
