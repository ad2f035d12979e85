"""A process beside a gang's leader: MXNet's server, which adds up gradients, or its scheduler.

`python -m finetune_trainer.fit.parameter_server server|scheduler`, with MXNet's DMLC_ variables.
"""

import os
import sys
from collections.abc import Callable

import mxnet as mx
from mxnet.kvstore.kvstore_server import KVStoreServer


class _Adder(KVStoreServer):  # type: ignore[misc]
    """MXNet's parameter server without its commands: they are pickles, and could run any code."""

    def _controller(self) -> Callable[[int, bytes, object], None]:
        return lambda number, body, _: None


def main(role: str) -> None:
    """Serve until the leader's fit ends this process."""
    # Set after the import: MXNet would start its own server if the variable were set before.
    os.environ["DMLC_ROLE"] = role
    _Adder(mx.kv.create("dist")).run()


if __name__ == "__main__":
    main(sys.argv[1])
