"""The process that adds up a gang's gradients, or the one that brings its pods together.

`python -m finetune_trainer.fit.parameter_server server|scheduler`, with MXNet's DMLC_ variables.
"""

import os
import sys
from collections.abc import Callable

import mxnet as mx
from mxnet.kvstore.kvstore_server import KVStoreServer


class _Adder(KVStoreServer):  # type: ignore[misc]
    """MXNet's server, deaf to the commands that its own takes: they are pickles, and could name
    any code.
    """

    def _controller(self) -> Callable[[int, bytes, object], None]:
        return lambda number, body, _: None


def main(role: str) -> None:
    """Serve until the leader's fit ends this process."""
    # Only now: had MXNet found it when it was imported, its own server would be running.
    os.environ["DMLC_ROLE"] = role
    _Adder(mx.kv.create("dist")).run()


if __name__ == "__main__":
    main(sys.argv[1])
