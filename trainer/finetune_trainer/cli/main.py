"""The command line. Each command imports what it needs when it runs: the supervisor and the
local run must stay small, and never load MXNet.
"""

import argparse
import os
import sys
from collections.abc import Callable
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
    _add_predict(commands.add_parser("predict", help="name the classes of pictures"))
    _add_evaluate(commands.add_parser("evaluate", help="measure a model on labelled photos"))
    _add_report(commands.add_parser("report", help="show what a model's folder says of it"))
    schema = commands.add_parser("schema", help="print the JSON schema of the trainer contract")
    schema.set_defaults(run=_schema)
    supervise = commands.add_parser("supervise", help="(in a pod) run the job in FINETUNE_JOB")
    supervise.set_defaults(run=_supervise)
    stages = commands.add_parser("stages", help="(internal) run stages in this process")
    stages.add_argument("functions", nargs="+", metavar="NAME=MODULE:FUNCTION")
    stages.set_defaults(run=_stages)
    return parser


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("manifest", type=Path, help="YAML file with one FineTuneJob")
    parser.add_argument(
        "--data", type=Path, help="photos: a folder or an archive, in place of dataset.source"
    )
    parser.add_argument(
        "--validation-data", type=Path, help="photos, in place of dataset.validationSource"
    )
    parser.add_argument("--model", type=Path, help="file or folder, in place of model.source")
    parser.add_argument(
        "--resume-from", type=Path, help="a model's folder, in place of training.resumeFrom"
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


def _add_predict(parser: argparse.ArgumentParser) -> None:
    _add_model(parser)
    parser.add_argument("images", type=Path, nargs="+", help="pictures, or folders of them")
    parser.add_argument("--top", type=int, default=1, metavar="K", help="name K classes of each")
    parser.set_defaults(run=_predict)


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    _add_model(parser)
    parser.add_argument(
        "--data", type=Path, required=True, help="folder in a layout that training takes"
    )
    parser.add_argument("--report", type=Path, metavar="HTML", help="write a report")
    parser.set_defaults(run=_evaluate)


def _add_report(parser: argparse.ArgumentParser) -> None:
    _add_directory(parser)
    parser.set_defaults(run=_report)


def _add_directory(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, metavar="MODEL_DIR", help="an output's directory")


def _add_model(parser: argparse.ArgumentParser) -> None:
    _add_directory(parser)
    parser.add_argument(
        "--format",
        choices=("auto", "mxnet", "onnx"),
        default="auto",
        help="which of the model's files to use (default: ONNX if it is there)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def _add_workspace(parser: argparse.ArgumentParser, what: str) -> None:
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    parser.add_argument(
        "--workspace",
        type=Path,
        default=cache / "finetune-trainer",
        help=f"{what} (default: %(default)s)",
    )


def _add_models(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_show_models)
    commands = parser.add_subparsers(metavar="COMMAND")
    listing = commands.add_parser("list", help="list the catalogue (the default)")
    listing.set_defaults(run=_show_models)
    convert = commands.add_parser("convert", help="write models' MXNet files to DIR/NAME")
    convert.add_argument("names", nargs="+", metavar="NAME")
    convert.add_argument("--output", type=Path, required=True, metavar="DIR")
    convert.add_argument("--weights", type=Path, metavar="FILE", help="downloaded weights of NAME")
    convert.set_defaults(run=_convert_models)


def _run(options: argparse.Namespace) -> int:
    from finetune_trainer.cli.run import RunOptions, run_local

    return run_local(
        options.manifest,
        RunOptions(
            data=options.data,
            validation_data=options.validation_data,
            model=options.model,
            resume_from=options.resume_from,
            workspace=options.workspace,
            output=options.output,
            fresh=options.fresh,
        ),
    )


def _prepare(options: argparse.Namespace) -> int:
    from finetune_trainer.cli.prepare import PrepareOptions, run_prepare

    prepare_options = PrepareOptions(
        manifest=options.manifest,
        data=options.data,
        workspace=options.workspace,
        sheet=options.sheet,
        exact=options.exact,
        threads=options.threads,
    )
    return _explained(lambda: run_prepare(prepare_options))


def _predict(options: argparse.Namespace) -> int:
    from finetune_trainer.cli.predict import predict

    return _explained(
        lambda: predict(
            options.model,
            options.images,
            kind=options.format,
            top=options.top,
            as_json=options.json,
        )
    )


def _evaluate(options: argparse.Namespace) -> int:
    from finetune_trainer.cli.evaluate import evaluate

    return _explained(
        lambda: evaluate(
            options.model,
            options.data,
            kind=options.format,
            as_json=options.json,
            report=options.report,
        )
    )


def _report(options: argparse.Namespace) -> int:
    from finetune_trainer.cli.report import show

    return _explained(lambda: show(options.model))


def _explained(command: Callable[[], int]) -> int:
    """Run a command; say in words why it could not, and return the exit code of the contract."""
    from finetune_trainer.run.failure import explain

    try:
        return command()
    except Exception as exception:
        error = explain(exception)
        print(f"{error.code.name}: {error.message}\n{error.hint}".rstrip(), file=sys.stderr)
        return error.code


def _supervise(options: argparse.Namespace) -> int:
    from finetune_trainer.supervisor.pod import supervise

    return supervise(os.environ)


def _stages(options: argparse.Namespace) -> int:
    from finetune_trainer.pipeline import run_stages

    code = run_stages(dict(pair.split("=") for pair in options.functions))
    sys.stdout.flush()
    os._exit(code)  # MXNet's own end takes time, and has nothing left to do


def _schema(options: argparse.Namespace) -> int:
    from finetune_trainer.contract.schema import contract_schema

    sys.stdout.write(contract_schema())
    return 0


def _show_models(options: argparse.Namespace) -> int:
    from finetune_trainer.cli.models import show

    return show()


def _convert_models(options: argparse.Namespace) -> int:
    from finetune_trainer.cli.models import convert

    return convert(options.names, options.output, weights=options.weights)
