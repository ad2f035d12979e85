"""Builds images: python -m tests.images build operator|trainer|trainer-gpu|base."""

import argparse

from tests.images import gpu
from tests.images.base import make_base
from tests.images.build import SOURCES, build
from tests.images.contents import tables


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.images", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    builder = commands.add_parser("build", help="build images; print their names and archives")
    builder.add_argument("targets", nargs="+", choices=[*SOURCES, "base"], metavar="TARGET")
    checker = commands.add_parser("check", help="check what can be checked without a GPU")
    checker.add_argument("targets", nargs=1, choices=["trainer-gpu"])
    table = commands.add_parser("contents", help="table the layers and packages of images")
    table.add_argument("targets", nargs="+", choices=SOURCES, metavar="TARGET")
    bill = commands.add_parser("sbom", help="build images; print the paths of their SBOMs")
    bill.add_argument("targets", nargs="+", choices=SOURCES, metavar="TARGET")
    options = parser.parse_args()
    for target in options.targets:
        if target == "base":
            print(make_base())
        elif options.command == "check":
            gpu.check(build(target))
        elif options.command == "contents":
            print(*tables(build(target)), sep="\n")
        elif options.command == "sbom":
            print(build(target).sbom)
        else:
            image = build(target)
            print(image.name, image.archive)


if __name__ == "__main__":
    main()
