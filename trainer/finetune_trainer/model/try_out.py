"""Tries a network out in a process of its own: loads it, and replaces its last layer.

The stage `fetch` finds out in this way that weights do not fit, before a photo is read. MXNet must
not be loaded in its own process: it takes memory for as long as that lives. Imports no MXNet.
"""

import dataclasses
import pickle
import signal
import subprocess
import sys

from finetune_trainer.contract import ExitCode, Model, TrainerError
from finetune_trainer.model.origin import Origin

CLASSES = 2
"""The number of classes of the new layer, whose real one only the photos show."""


def try_out(model: Model, origin: Origin) -> None:
    """Raise the error that the stage `model` would raise for these files; those of the image are
    known to be right.
    """
    if origin.weights is None:
        return
    question = pickle.dumps((model, dataclasses.replace(origin, earlier=None), CLASSES))
    command = [sys.executable, "-P", "-m", "finetune_trainer.model.tried_out"]
    done = subprocess.run(command, input=question, stdout=subprocess.PIPE, check=False)
    if done.stdout:
        raise TrainerError(*pickle.loads(done.stdout))
    if done.returncode:
        raise _died(done.returncode)


def _died(status: int) -> TrainerError:
    how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with {status}"
    return TrainerError(
        ExitCode.InternalError,
        f"The process that loads the network of the job {how}.",
        "If it was SIGKILL, its memory was too little: raise trainer.resources.limits.memory, and "
        "dataset.prepare's if it is set. Else please report it with logTail.",
    )
