"""Entry point: `python -m finetune_trainer` and `finetune-trainer`."""

import os
import signal
import sys

if __name__ == "__main__":
    # Process 1 is deaf to signals that it has no handler for: a pod that is deleted while this
    # loads would otherwise stay for all of its grace.
    signal.signal(signal.SIGTERM, lambda number, frame: os._exit(128 + number))
    from finetune_trainer.cli.main import main

    sys.exit(main())
