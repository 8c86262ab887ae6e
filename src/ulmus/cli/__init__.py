"""The command line: one file per command; the only place that prints, prompts or exits."""

from ulmus.cli.app import main

__all__ = ["main"]
