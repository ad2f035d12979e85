"""The process that `try_out` starts: reads the files from its input, and writes an error."""

import logging
import os
import pickle
import sys
import traceback
from pathlib import Path

from finetune_trainer.model.stage import cut
from finetune_trainer.run.failure import explain


def main() -> None:
    """Load the network and replace its last layer; write the error of that, if there is one."""
    answer, output = os.dup(1), os.dup(2)
    os.dup2(output, 1)  # what MXNet prints goes to the log
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    model, origin, classes = pickle.load(sys.stdin.buffer)
    try:
        cut(model, origin, classes=classes, bundled=Path())
    except Exception as exception:
        error = explain(exception)
        if error is not exception:
            traceback.print_exc()
        os.write(answer, pickle.dumps((error.code, error.message, error.hint)))
    sys.stderr.flush()
    os._exit(0)  # MXNet's own end takes time


if __name__ == "__main__":
    main()
