"""Smaller batches for a GPU without room for one."""

import gc
import logging
from collections.abc import Callable, Iterator
from typing import TypeVar

import mxnet as mx

from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.model.network import reason_of
from finetune_trainer.run.failure import explain

log = logging.getLogger(__name__)

T = TypeVar("T")


def with_batches_that_fit(do: Callable[[int], T], size: int, *, what: str) -> T:
    """Return what `do` does with batches of `size` images, or of fewer, as often as a GPU has no
    memory for them. `what` it is for, for people.

    Raises DeviceOutOfMemory if there is none for a single image.
    """
    reason = ""
    for smaller in divisors(size):
        if smaller < size:
            # No more in the handler: its traceback holds the arrays that must go.
            gc.collect()
            for number in range(mx.context.num_gpus()):
                mx.gpu(number).empty_cache()
            log.warning("%s, in batches of %d now: the GPU is full: %s", what, smaller, reason)
        try:
            return do(smaller)
        except mx.MXNetError as error:
            if explain(error).code is not ExitCode.DeviceOutOfMemory:
                raise
            reason = reason_of(error)
    raise TrainerError(
        ExitCode.DeviceOutOfMemory,
        f"the GPU has too little memory for {what}, even for one image a batch: {reason}",
        "use a GPU with more, lower model.inputSize, or set training.recipe to features",
    )


def divisors(number: int) -> Iterator[int]:
    """Yield the whole numbers that divide it, the largest first."""
    return (each for each in range(number, 0, -1) if number % each == 0)
