"""``python -m ulmus``."""

from ulmus.cli import main

main()
