"""Entry point: `python -m finetune_trainer` and the installed command `finetune-trainer`."""

import os
import signal
import sys


def main() -> int:
    """Run the command line; return its exit code."""
    # Process 1 has no default handlers, so SIGTERM would be ignored: a pod that is deleted while
    # the imports below are read would stay for all of its grace period.
    signal.signal(signal.SIGTERM, lambda number, frame: os._exit(128 + number))
    from finetune_trainer.cli.main import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
