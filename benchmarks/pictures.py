"""The pictures that pages show of a fitted layer-5 pyramidal cell and of generated Pathfinder images.

    python benchmarks/pictures.py --data test --morphology cell1.asc

Figures are those of `ulmus report`, photographed by a headless Chromium. Without trials only the Pathfinder images are drawn.
"""

from pathlib import Path

import numpy as np
from common import start, write_figure
from PIL import Image

from ulmus.cli.console import say
from ulmus.errors import ConfigError
from ulmus.neuron import load_surrogate
from ulmus.report import style
from ulmus.report.model_page import geometry_of
from ulmus.report.page import build_panels
from ulmus.report.surrogate_content import surrogate_content
from ulmus.sequences import published_settings
from ulmus.sequences.lra.pathfinder.images import draw_scene, render
from ulmus.trials import open_trials

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"
PANELS = {"traces": "demo", "morphology": "l5pc-listens", "memory": "l5pc-encodes", "failures": "l5pc-fails"}
"""Panels of a report, and what their pictures are called."""
SHOWN_MS, SHOWN_MV = (2000.0, 4000.0), (-80.0, -50.0)
SEED, ROWS, COLUMNS, SIDE_PX, GAP_PX = 2026, 4, 3, 128, 4


def draw_surrogate(neuron: str, data: str, morphology: Path, out: Path) -> None:
    """What a fitted neuron answers, where it listens, what its memory encodes and where it fails."""
    surrogate, trials = load_surrogate(neuron), open_trials(data)
    content = surrogate_content(surrogate, trials, None, "", geometry=geometry_of(morphology, surrogate))
    panels = build_panels(content)
    for panel, name in PANELS.items():
        plot = panels[panel].variants[0][1]
        if panel == "traces":
            coloured = f"<span style='color:{style.SURROGATE}'>surrogate</span>"
            plot.update_layout(xaxis={"range": SHOWN_MS}, yaxis={"ticktext": [coloured, "neuron"]})
            plot.update_layout(yaxis2={"range": SHOWN_MV})
            plot.layout.updatemenus = ()
        write_figure(plot, out / f"{name}.png")


def draw_pathfinder(out: Path) -> None:
    """A sheet of images of 32 and of 128 pixels: those whose discs are connected on the left."""
    side = SIDE_PX + GAP_PX
    sheet = np.full((GAP_PX + 2 * ROWS * side, GAP_PX + 2 * COLUMNS * side), 255, dtype=np.uint8)
    for half, size in enumerate((32, 128)):
        settings, found, index = published_settings(size), {1: 0, 0: 0}, 0
        while min(found.values()) < ROWS * COLUMNS:
            scene, index = draw_scene(settings, SEED, index), index + 1
            row, column = divmod(found[scene.label], COLUMNS)
            found[scene.label] += 1
            if row < ROWS:
                top = GAP_PX + (half * ROWS + row) * side
                left = GAP_PX + (column + COLUMNS * (1 - scene.label)) * side
                sheet[top : top + SIDE_PX, left : left + SIDE_PX] = np.kron(
                    render(settings, scene), np.ones((SIDE_PX // size,) * 2, dtype=np.uint8)
                )
    Image.fromarray(sheet).quantize(64).save(out / "pathfinder.png", optimize=True)
    say(f"wrote {out / 'pathfinder.png'}")


def pictures(
    *,
    data: str | None = None,
    morphology: Path | None = None,
    neuron: str = "l5pc-branch-20",
    out: Path = IMAGES,
) -> None:
    """Draw the pictures.

    Args:
        data: Trials that the neuron was not fitted to.
        morphology: Reconstruction of the cell.
        neuron: Fitted neuron.
        out: Folder of the pictures.
    """
    if (data is None) != (morphology is None):
        raise ConfigError(
            "--data and --morphology go together: a fitted neuron is drawn with both; give both or none."
        )
    draw_pathfinder(out)
    if data is not None and morphology is not None:
        draw_surrogate(neuron, data, morphology, out)


if __name__ == "__main__":
    start(pictures)
