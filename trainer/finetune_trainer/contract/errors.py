"""Exit codes of the trainer, and the error with its message and hint."""

import enum


class ExitCode(enum.IntEnum):
    """Exit codes of the trainer (sysexits where one fits); the operator's retry policy reads
    them. The name is the reason."""

    Complete = 0
    InvalidSpec = 64
    InvalidData = 65
    InputNotFound = 66
    UnsupportedHardware = 69
    InternalError = 70
    OutputNotWritable = 73
    InputOutputError = 74
    TemporaryFailure = 75
    PermissionDenied = 77
    AccuracyBelowMinimum = 80
    Diverged = 81
    Stalled = 82
    PeerLost = 83
    DeviceOutOfMemory = 84
    Interrupted = 143


class TrainerError(Exception):
    """An error that the user can act on: `message` has the problem, `hint` the remedy."""

    def __init__(self, code: ExitCode, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
