"""The pictures that pages show of a fitted layer-5 pyramidal cell, of Pathfinder images and of a network that reads them.

    python benchmarks/pictures.py --data test --morphology cell1.asc

Figures are those of `ulmus report`, photographed by a headless Chromium. Without trials only the Pathfinder images are drawn.
"""

from pathlib import Path

import numpy as np
import torch
from common import start, write_figure
from PIL import Image
from scipy.special import softmax

from ulmus.cli.console import say
from ulmus.errors import ConfigError
from ulmus.neuron import load, load_surrogate
from ulmus.report import style
from ulmus.report.model_page import geometry_of
from ulmus.report.page import build_panels
from ulmus.report.surrogate_content import surrogate_content
from ulmus.sequences import published_settings
from ulmus.sequences.lra.encoding import GrayBins
from ulmus.sequences.lra.pathfinder.images import draw_scene, render
from ulmus.trials import open_trials

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"
PANELS = {"traces": "demo", "morphology": "l5pc-listens", "memory": "l5pc-encodes", "failures": "l5pc-fails"}
"""Panels of a report, and what their pictures are called."""
SHOWN_MS, SHOWN_MV = (2000.0, 4000.0), (-80.0, -50.0)
NETWORK = Path(__file__).parent / "checkpoints" / "lra-pathfinder-x-every-pixel" / "network.safetensors"
LINKED = ((0.55, 0.55, 0.6), (0.25, 0.55, 1.0), (1.0, 0.6, 0.1))
"""Colours of ink that is linked to no disc, to one and to both."""
CONNECTED = (0.8, 0.4, 0.05)
"""Colour of the dark where the discs are said to be connected."""
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


def draw_reading(out: Path) -> None:
    """Two connected and two other images, and what a network that reads every pixel says meanwhile.

    At ink: how many discs it is linked to by what was read before. In the dark: how likely the discs are connected, by the
    mean over all pixels so far.
    """
    network, settings = load(NETWORK), published_settings(128, as_published=True)
    scenes = [draw_scene(settings, SEED, index) for index in range(50)]
    shown = [scene for label in (1, 0) for scene in [one for one in scenes if one.label == label][:2]]
    images = np.stack([render(settings, scene) for scene in shown])
    pixels = torch.from_numpy(images.reshape(len(images), -1))
    read = GrayBins(8)(pixels, torch.full((len(images),), pixels.shape[1])).inputs
    with torch.inference_mode():
        outputs = network.model(read)[0].numpy()
    count, light = len(network.classes), images[..., None] / 255
    so_far = outputs[..., :count].cumsum(axis=1) / np.arange(1, 1 + outputs.shape[1])[:, None]
    connected = softmax(so_far, axis=-1)[..., 1].reshape(light.shape)
    linked = softmax(outputs[..., count:], axis=-1).reshape(*images.shape, -1)
    said = light * (linked @ np.array(LINKED)) + (1 - light) * connected * np.array(CONNECTED)
    lines = [
        np.concatenate([np.pad(one, ((1, 1), (1, 1), (0, 0)), constant_values=1) for one in row], axis=1)
        for row in (np.repeat(light, 3, axis=3), said)
    ]
    sheet = np.kron(np.concatenate(lines), np.ones((2, 2, 1)))
    Image.fromarray((255 * sheet).astype(np.uint8)).quantize(256).save(out / "every-pixel.png", optimize=True)
    answers = [network.classes[number] for number in so_far[:, -1].argmax(axis=1)]
    say(f"wrote {out / 'every-pixel.png'}; the network says {', '.join(answers)}")


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
    draw_reading(out)
    if data is not None and morphology is not None:
        draw_surrogate(neuron, data, morphology, out)


if __name__ == "__main__":
    start(pictures)
