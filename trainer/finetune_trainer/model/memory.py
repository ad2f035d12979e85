"""Repeats work in smaller batches while a GPU is out of memory."""

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


def with_batches_that_fit(work: Callable[[int], T], size: int, *, what: str) -> T:
    """Return the result of `work(size)`, a number of images; each time that a GPU is out of memory,
    repeat it with the next smaller divisor of `size`. Messages call the work `what`.

    Raises DeviceOutOfMemory if a single image is too large.
    """
    reason = ""
    for smaller in divisors(size):
        if smaller < size:
            # Outside of the handler: its traceback refers to the arrays that must be freed.
            gc.collect()
            for number in range(mx.context.num_gpus()):
                mx.gpu(number).empty_cache()
            log.warning("%s, in batches of %d now: the GPU is full: %s", what, smaller, reason)
        try:
            return work(smaller)
        except mx.MXNetError as error:
            if explain(error).code is not ExitCode.DeviceOutOfMemory:
                raise
            reason = reason_of(error)
    raise TrainerError(
        ExitCode.DeviceOutOfMemory,
        f"the GPU has too little memory for {what}, even for one image a batch: {reason}",
        "use a GPU with more memory, lower model.inputSize, or set training.recipe to features",
    )


def divisors(number: int) -> Iterator[int]:
    """Yield the divisors of a number, the largest first."""
    return (divisor for divisor in range(number, 0, -1) if number % divisor == 0)
