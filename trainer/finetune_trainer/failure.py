"""Turns any exception into an end that the contract knows."""

import errno

from finetune_trainer.contract import ExitCode, TrainerError

_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_REFUSED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


def explain(exception: Exception) -> TrainerError:
    """Return the exception as a TrainerError: what the user can act on, or a bug."""
    match exception:
        case TrainerError():
            return exception
        case MemoryError():
            return TrainerError(
                ExitCode.InternalError,
                f"The process ran out of memory: {exception or 'allocation failed'}",
                "Raise trainer.resources.limits.memory or lower training.batchSizePerDevice.",
            )
        case OSError(errno=number) if number in _DISK_FULL:
            return TrainerError(
                ExitCode.InputOutputError,
                f"No space is left for {exception.filename or 'a file'}: {exception.strerror}",
                "Use a larger workspace, or delete what is not needed from it.",
            )
        case OSError(errno=errno.EIO):
            return TrainerError(
                ExitCode.InputOutputError,
                f"{exception.filename or 'A file'}: input/output error",
                "The volume or its storage is failing: see the events of the volume claim.",
            )
        case OSError(errno=number) if number in _REFUSED:
            return TrainerError(
                ExitCode.PermissionDenied,
                f"{exception.filename or 'A file'}: {exception.strerror}",
                "The files must be open to the trainer's user: "
                "see trainer.securityContext.runAsUser and fsGroup.",
            )
    return TrainerError(
        ExitCode.InternalError,
        f"{type(exception).__name__}: {exception}",
        "This is a bug in the trainer: please report it with the traceback in logTail.",
    )
