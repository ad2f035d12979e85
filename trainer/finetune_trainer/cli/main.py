"""The command line: one verb, one module of this room.

The module of a verb has `add_arguments(parser)` and `run(options)`, and is imported when its verb
is used, no earlier: the supervisor and the local run must stay small, and never load MXNet.
"""

import argparse
import importlib
import io
import sys

VERBS = {
    "run": "train a FineTuneJob manifest on this machine",
    "prepare": "pack photos and print a table of the data set",
    "models": "list or convert the models of the catalogue",
    "predict": "classify pictures",
    "evaluate": "measure a model on labelled photos",
    "report": "print the model card of a trained model",
    "workspace": "remove what no job needs any more from a workspace",
    "schema": "print the JSON schema of the trainer contract",
    "supervise": "(in a pod) run the job in FINETUNE_JOB",
    "stages": "(internal) run stages in this process",
}
"""The help of each verb; the verb is also the name of its module."""


def main(arguments: list[str] | None = None) -> int:
    """Run a verb; return its exit code, one of the contract's."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names that the terminal has no characters for
            stream.reconfigure(errors="backslashreplace")
    words = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(
        prog="finetune-trainer",
        description="Fine-tune a pretrained image classifier on folders of photos.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    parsers = {name: commands.add_parser(name, help=text) for name, text in VERBS.items()}
    module = None
    if words and words[0] in VERBS:
        module = importlib.import_module(f"finetune_trainer.cli.{words[0]}")
        module.add_arguments(parsers[words[0]])
    options = parser.parse_args(words)
    assert module, "argparse has refused every other first word"
    try:
        code: int = module.run(options)
    except Exception as exception:
        from finetune_trainer.cli.errors import print_exception

        return print_exception(exception)
    return code
