"""Turns any exception into an error of the contract."""

import errno

from finetune_trainer.contract import ExitCode, TrainerError

DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
FAILING = frozenset({errno.EIO, errno.EREMOTEIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN})
"""Errors of a failing disk, and of a network file system."""
_REFUSED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})

_OUT_OF_MEMORY = TrainerError(
    ExitCode.DeviceOutOfMemory,
    "The GPU has too little memory for a batch",
    "Lower training.batchSizePerDevice.",
)
_DEVICE_ERRORS = {
    "out of memory": _OUT_OF_MEMORY,
    "STATUS_ALLOC_FAILED": _OUT_OF_MEMORY,  # cuDNN's and cuBLAS's
    "Failed to find any": _OUT_OF_MEMORY,  # convolution algorithm, for lack of a workspace
    "no kernel image": TrainerError(
        ExitCode.UnsupportedHardware,
        "This GPU is too new or too old for MXNet's CUDA kernels",
        "Use V100, T4, A100, A10 or L4, or train without GPUs.",
    ),
}
"""Errors of the contract by the words in CUDA's messages."""


def explain(exception: Exception) -> TrainerError:
    """Return the exception as a TrainerError: one that the user can fix, or a bug."""
    match exception:
        case TrainerError():
            return exception
        case MemoryError():
            return TrainerError(
                ExitCode.InternalError,
                f"The process ran out of memory: {exception or 'allocation failed'}",
                "Raise trainer.resources.limits.memory or lower training.batchSizePerDevice.",
            )
        case OSError(errno=number) if number in DISK_FULL:
            return TrainerError(
                ExitCode.InputOutputError,
                f"No space is left for {exception.filename or 'a file'}: {exception.strerror}",
                "Use a larger workspace, or delete what is not needed from it.",
            )
        case OSError(errno=number) if number in FAILING:
            return TrainerError(
                ExitCode.InputOutputError,
                f"{exception.filename or 'A file'}: {exception.strerror}",
                "The volume or its storage is failing: see the events of the volume claim.",
            )
        case OSError(errno=number) if number in _REFUSED:
            return TrainerError(
                ExitCode.PermissionDenied,
                f"{exception.filename or 'A file'}: {exception.strerror}",
                "The files must be open to the trainer's user: "
                "see trainer.securityContext.runAsUser and fsGroup.",
            )
    if type(exception).__name__ == "MXNetError":  # by name: this module must not import MXNet
        for words, error in _DEVICE_ERRORS.items():
            if words in str(exception):
                return error
    return TrainerError(
        ExitCode.InternalError,
        f"{type(exception).__name__}: {exception}",
        "This is a bug in the trainer: please report it with the traceback in logTail.",
    )
