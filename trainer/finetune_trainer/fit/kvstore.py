"""The kvstore of several CPU contexts, which share one memory."""

from typing import Any

import mxnet as mx


@mx.kvstore.KVStoreBase.register
class SharedMemory(mx.kvstore.KVStoreBase):  # type: ignore[misc]  # MXNet has no types
    """Adds up the contexts' gradients in the array of one context, updates the weight of that
    context, and copies it to the others. Each parameter has another context, so that all CPUs work.

    MXNet's own stores copy each gradient before they add it up, and then the weight once more.
    """

    type, rank, num_workers = "shared memory", 0, 1

    def __init__(self) -> None:
        self._updater: Any = None
        self._turns: dict[str, int] = {}

    def is_capable(self, capability: str) -> bool:
        """Return True for the only capability: to update weights."""
        return bool(capability == self.OPTIMIZER)

    def set_optimizer(self, optimizer: Any) -> None:
        """Set the optimizer that updates the weights."""
        self._updater = mx.optimizer.get_updater(optimizer)

    def init(self, key: str, value: Any) -> None:
        """Do nothing: the contexts hold all arrays."""

    def broadcast(self, key: str, value: Any, out: list[Any], priority: int = 0) -> None:
        """Copy the value to every context."""
        for copy in out:
            value.copyto(copy)

    def pushpull(
        self, key: str, value: list[Any], out: list[Any] | None = None, priority: int = 0
    ) -> None:
        """Update the contexts' weights `out` by the sum of their gradients `value`; without `out`,
        copy the sum to every context.
        """
        turn = self._turns.setdefault(key, len(self._turns) % len(value))
        total = value[turn]
        for other in _others(value, turn):
            mx.nd.elemwise_add(total, other, out=total)
        if out is not None:
            self._updater(key, total, out[turn])
        copies = value if out is None else out
        for other in _others(copies, turn):
            copies[turn].copyto(other)


def _others(copies: list[Any], turn: int) -> list[Any]:
    return copies[:turn] + copies[turn + 1 :]
