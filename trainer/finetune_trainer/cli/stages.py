"""`finetune-trainer stages`: the child process in which the supervisor runs stages."""

import argparse
import os
import sys

from finetune_trainer.pipeline import run_stages


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the stages and their functions."""
    parser.add_argument("functions", nargs="+", metavar="NAME=MODULE:FUNCTION")


def run(options: argparse.Namespace) -> int:
    """Run the stages, then end the process at once."""
    code = run_stages(dict(pair.split("=") for pair in options.functions))
    sys.stdout.flush()
    os._exit(code)  # MXNet's own end takes time, and has nothing left to do
