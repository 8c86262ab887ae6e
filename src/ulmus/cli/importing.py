"""``ulmus import``."""

from pathlib import Path

from ulmus.cli.console import console
from ulmus.neuron import import_official, save


def import_(folder: Path, *, out: Path) -> None:
    """Convert a checkpoint folder of the paper's authors into a saved surrogate.

    Args:
        folder: Folder with model_config.json and a .pt file.
        out: File to write.
    """
    surrogate = import_official(folder)
    save(surrogate, out)
    console.print(f"{out}: {surrogate.trainable_parameters():,} trainable parameters", soft_wrap=True)
