"""Entry point: `python -m finetune_trainer` and `finetune-trainer`."""

import sys

from finetune_trainer.cli import main

if __name__ == "__main__":
    sys.exit(main())
