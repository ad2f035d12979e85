"""python -m tests.images build [operator|trainer|trainer-gpu|base ...] prints: NAME ARCHIVE."""

import argparse

from tests.images.base import make_base
from tests.images.build import SOURCES, build


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.images", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    builder = commands.add_parser("build", help="build images and print their names and archives")
    builder.add_argument("targets", nargs="+", choices=[*SOURCES, "base"], metavar="TARGET")
    for target in parser.parse_args().targets:
        if target == "base":
            print(make_base())
        else:
            image = build(target)
            print(image.name, image.archive)


if __name__ == "__main__":
    main()
