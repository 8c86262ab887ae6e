"""``ulmus report``."""

from pathlib import Path

from ulmus.cli.console import console


def report(run: Path) -> None:
    """placeholder"""
