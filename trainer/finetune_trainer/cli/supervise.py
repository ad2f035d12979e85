"""`finetune-trainer supervise`: process 1 of a trainer pod."""

import argparse
import os

from finetune_trainer.supervisor.pod import supervise


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add none: a pod is configured by its environment."""


def run(options: argparse.Namespace) -> int:
    """Run the job in FINETUNE_JOB."""
    return supervise(os.environ)
