"""Starts and stops the test cluster: `python -m tests.cluster --help`, from the repository root."""

import argparse
import os
import sys
from pathlib import Path

from tests.cluster import cluster, images, programs, volumes
from tests.cluster.layout import KUBECONFIG
from tests.cluster.processes import DIRECT


def main(arguments: list[str]) -> None:
    """Run one command."""
    options = _parser().parse_args(arguments)
    match options.command:
        case "build":
            programs.ensure(*programs.ALL)
        case "up":
            cluster.up(node_count=options.nodes, gpus=options.gpus)
            print(KUBECONFIG)
        case "down":
            cluster.down()
        case "env":
            _print_environment()
        case "load":
            for archive in options.archives:
                for node in cluster.running_nodes():
                    images.load(node, archive)
        case "gpus":
            cluster.set_gpus(options.count)
        case "recycle":
            for name in volumes.recycle(cluster.connect()):
                print(name)
        case "node-stop":
            cluster.stop_node(options.name)
        case "node-start":
            cluster.start_node(options.name)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("build", help="build all programs into the user's cache")
    up = commands.add_parser("up", help="start the cluster; print the path of its kubeconfig")
    up.add_argument("--nodes", type=int, choices=(1, 2), default=1)
    up.add_argument("--gpus", type=int, help="stand-in GPUs on each node")
    commands.add_parser("down", help="stop it and remove all it made, the volumes too")
    commands.add_parser("env", help='print exports: eval "$(python -m tests.cluster env)"')
    load = commands.add_parser("load", help="import image archives into each node")
    load.add_argument("archives", nargs="+", type=Path, metavar="ARCHIVE")
    gpus = commands.add_parser("gpus", help="set the number of stand-in GPUs on each node")
    gpus.add_argument("count", type=int)
    commands.add_parser("recycle", help="empty released volumes and offer them again")
    for name, text in (("node-stop", "kill a node"), ("node-start", "bring it back")):
        commands.add_parser(name, help=text).add_argument("name")
    return parser


def _print_environment() -> None:
    directories = [str(program.directory) for program in programs.ALL]
    print(f"export KUBECONFIG={KUBECONFIG}")
    print(f"export PATH={':'.join(directories)}:$PATH")
    if {"HTTPS_PROXY", "https_proxy"} & os.environ.keys():
        print(f"export NO_PROXY={DIRECT} no_proxy={DIRECT}")


if __name__ == "__main__":
    main(sys.argv[1:])
