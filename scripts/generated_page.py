"""The command of the scripts that make a page of the docs anew: write it, or say whether it is as it would be."""

import argparse
from collections.abc import Callable
from pathlib import Path

__all__ = ["run"]


def run(description: str, file: Path, page: Callable[[], str]) -> int:
    """Write the page into its file; with --check change nothing, and give the exit code: 1 where the file is old."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 where the page is old")
    options = parser.parse_args()
    made = page()
    if options.check:
        return int(file.read_text(encoding="utf-8") != made)
    file.write_text(made, encoding="utf-8")
    return 0
