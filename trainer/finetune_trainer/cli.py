"""The command line. Each command imports what it needs when it runs: the supervisor and the
local run must stay small, and never load MXNet.
"""

import argparse
import os
import sys
from pathlib import Path


def main(arguments: list[str] | None = None) -> int:
    """Run a command; return its exit code."""
    options = _parser().parse_args(arguments)
    command: int = options.run(options)
    return command


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="finetune-trainer",
        description="Fine-tune a pretrained image classifier on folders of photos.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_run(commands.add_parser("run", help="train a FineTuneJob manifest on this machine"))
    _add_prepare(commands.add_parser("prepare", help="pack photos and show what became of them"))
    _add_models(commands.add_parser("models", help="list or convert the models of the catalogue"))
    schema = commands.add_parser("schema", help="print the JSON schema of the trainer contract")
    schema.set_defaults(run=_schema)
    supervise = commands.add_parser("supervise", help="(in a pod) run the job in FINETUNE_JOB")
    supervise.set_defaults(run=_supervise)
    stage = commands.add_parser("stage", help="(internal) run one stage in this process")
    stage.add_argument("name")
    stage.add_argument("function", nargs="?", help="module:function; default: the stage's own")
    stage.set_defaults(run=_stage)
    return parser


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("manifest", type=Path, help="YAML file with one FineTuneJob")
    parser.add_argument(
        "--data", type=Path, help="photos: a folder or an archive, in place of dataset.source"
    )
    parser.add_argument(
        "--validation-data", type=Path, help="photos, in place of dataset.validationSource"
    )
    _add_workspace(parser, "packed data and checkpoints")
    parser.add_argument(
        "--output", type=Path, default=Path("output"), help="where the model goes (%(default)s)"
    )
    parser.add_argument("--fresh", action="store_true", help="do not go on from an earlier run")
    parser.set_defaults(run=_run)


def _add_prepare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("manifest", type=Path, nargs="?", help="YAML file with one FineTuneJob")
    parser.add_argument("--data", type=Path, help="photos: a folder or an archive")
    _add_workspace(parser, "where packed data goes")
    parser.add_argument("--sheet", type=Path, metavar="HTML", help="write a contact sheet")
    parser.add_argument("--threads", type=int, help="photos decoded at a time (default: all CPUs)")
    parser.add_argument(
        "--exact", action="store_true", help="pixels byte for byte as im2rec.py has them; slow"
    )
    parser.set_defaults(run=_prepare)


def _add_workspace(parser: argparse.ArgumentParser, what: str) -> None:
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    parser.add_argument(
        "--workspace",
        type=Path,
        default=cache / "finetune-trainer",
        help=f"{what} (default: %(default)s)",
    )


def _add_models(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    listing = commands.add_parser("list", help="list the catalogue")
    listing.set_defaults(run=_list_models)
    convert = commands.add_parser("convert", help="write a model's MXNet files to DIR/NAME")
    convert.add_argument("name")
    convert.add_argument("--output", type=Path, required=True, metavar="DIR")
    convert.set_defaults(run=_convert_model)


def _run(options: argparse.Namespace) -> int:
    from finetune_trainer.local import Choices, run_local

    return run_local(
        options.manifest,
        Choices(
            data=options.data,
            validation_data=options.validation_data,
            workspace=options.workspace,
            output=options.output,
            fresh=options.fresh,
        ),
    )


def _prepare(options: argparse.Namespace) -> int:
    from finetune_trainer.dataset.command import Choices, run_prepare

    return run_prepare(
        Choices(
            manifest=options.manifest,
            data=options.data,
            workspace=options.workspace,
            sheet=options.sheet,
            exact=options.exact,
            threads=options.threads,
        )
    )


def _supervise(options: argparse.Namespace) -> int:
    from finetune_trainer.pod import supervise

    return supervise(os.environ)


def _stage(options: argparse.Namespace) -> int:
    from finetune_trainer.pipeline import find_stage, run_stage

    return run_stage(options.name, options.function or find_stage(options.name).function)


def _schema(options: argparse.Namespace) -> int:
    from finetune_trainer.schema import contract_schema

    sys.stdout.write(contract_schema())
    return 0


def _list_models(options: argparse.Namespace) -> int:
    from finetune_trainer.model.catalogue import entries

    for name, entry in entries().items():
        print(f"{name}: ImageNet top-1 {entry.top1} %, {entry.input_size} px, {entry.licence}")
    return 0


def _convert_model(options: argparse.Namespace) -> int:
    from finetune_trainer.contract import TrainerError
    from finetune_trainer.model.convert import convert

    try:
        print(convert(options.name, options.output))
    except TrainerError as error:
        print(f"finetune-trainer: {error.message}. {error.hint}", file=sys.stderr)
        return error.code
    return 0
