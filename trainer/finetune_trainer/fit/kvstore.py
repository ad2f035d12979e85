"""The kvstore of several CPUs, which have one memory."""

from typing import Any

import mxnet as mx


@mx.kvstore.KVStoreBase.register
class SharedMemory(mx.kvstore.KVStoreBase):  # type: ignore[misc]  # MXNet has no types
    """Adds up the CPUs' gradients in the place of one of them, updates the weight beside it, and
    gives the others copies. MXNet's own stores copy each gradient before they add it up, and the
    weight once more. Parameters take turns, so that all CPUs work.
    """

    type, rank, num_workers = "shared memory", 0, 1

    def __init__(self) -> None:
        self._updater: Any = None
        self._turns: dict[str, int] = {}

    def is_capable(self, capability: str) -> bool:
        """Return whether it is: only of updating."""
        return bool(capability == self.OPTIMIZER)

    def set_optimizer(self, optimizer: Any) -> None:
        """Update with this one."""
        self._updater = mx.optimizer.get_updater(optimizer)

    def init(self, key: str, value: Any) -> None:
        """Keep nothing: what there is, is with the devices."""

    def broadcast(self, key: str, value: Any, out: list[Any], priority: int = 0) -> None:
        """Give every device the value."""
        for copy in out:
            value.copyto(copy)

    def pushpull(
        self, key: str, value: list[Any], out: list[Any] | None = None, priority: int = 0
    ) -> None:
        """Update the devices' weights `out` by the sum of their gradients; without `out`, give the
        sum to every device.
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
