"""`finetune-trainer schema`: prints the JSON schema of the trainer contract."""

import argparse
import sys

from finetune_trainer.contract.schema import contract_schema


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add none."""


def run(options: argparse.Namespace) -> int:
    """Print the schema."""
    sys.stdout.write(contract_schema())
    return 0
