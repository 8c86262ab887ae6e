"""Pathfinder images by the thousand, in the layout of the published archive."""

from pathlib import Path

from ulmus.files.writing import new_folder, remove_leftovers, write_text
from ulmus.sequences.lra.pathfinder.images import draw_scene, render
from ulmus.sequences.lra.pathfinder.settings import PathfinderSettings
from ulmus.sequences.making import Report, begin, check_counts, check_seed, in_order

IMAGES = 200_000
IMAGES_PER_BATCH = 1000
_PNG_EFFORT = 1  # five times as fast as the default, a tenth larger


def make_pathfinder(
    out: str | Path,
    settings: PathfinderSettings,
    *,
    images: int = IMAGES,
    seed: int = 0,
    workers: int | None = None,
    balanced: bool = True,
    on_images: Report | None = None,
) -> Path:
    """Write images and labels to ``out/pathfinder32/curv_contour_length_14`` or another such folder.

    Image k depends on the settings, the seed and k alone, so any number of workers writes the same files. Batches of
    1000 images appear whole; called again after an interruption, it goes on.

    Args:
        out: folder that stands for ``lra_release``.
        settings: size, difficulty and all that follows.
        images: how many.
        seed: of the whole set.
        workers: processes; all cores when not given.
        balanced: leave out scenes so that the places of the discs are the same for both labels; never as published.
        on_images: called when images are finished.

    Returns:
        The folder of the images.

    Raises:
        ConfigError: arguments that cannot be used, or other ones than the folder was begun with.
        DataError: the folder holds data that were not made here.
        UlmusError: a process was killed.
    """
    check_counts(images=images, workers=workers)
    check_seed(seed)
    balanced = balanced and not settings.as_published
    folder = Path(out).expanduser() / f"pathfinder{settings.size}" / settings.subset
    made_with = {"task": "pathfinder", "seed": seed, "balanced": balanced, "images": images}
    begin(folder, {**made_with, **settings.to_json()})
    remove_leftovers(folder / "imgs")
    starts = range(0, images, IMAGES_PER_BATCH)
    waiting = [
        (folder, batch, start, min(start + IMAGES_PER_BATCH, images), settings, seed, balanced)
        for batch, start in enumerate(starts)
        if not _metadata(folder, batch).exists()
    ]
    done = images - sum(stop - start for _, _, start, stop, *_ in waiting)
    for written in in_order(_write_batch, waiting, workers):
        done += written
        if on_images is not None:
            on_images(done, images)
    return folder


def _metadata(folder: Path, batch: int) -> Path:
    return folder / "metadata" / f"{batch}.npy"


def _write_batch(
    folder: Path,
    batch: int,
    start: int,
    stop: int,
    settings: PathfinderSettings,
    seed: int,
    balanced: bool,
) -> int:
    """Images `start` to `stop` and their metadata; how many."""
    from PIL import Image

    lines = []
    with new_folder(folder / "imgs" / str(batch)) as images:  # what is there without metadata was interrupted
        for number, index in enumerate(range(start, stop)):
            scene = draw_scene(settings, seed, index, balanced)
            name = f"sample_{number}.png"
            Image.fromarray(render(settings, scene)).save(images / name, compress_level=_PNG_EFFORT)
            lines.append(metadata_line(settings, f"imgs/{batch}", name, number, scene.label, scene.margin))
    metadata = _metadata(folder, batch)
    write_text(metadata, "".join(lines), replace=False)
    return stop - start


def metadata_line(
    settings: PathfinderSettings, sub_path: str, name: str, number: int, label: int, margin: int
) -> str:
    """The line of an image: folder, file, number, label, settings, margin, number of contrasts."""
    drawn_with = (
        f"{settings.continuity} {settings.contour_paddles} {settings.distractor_paddles} {settings.paddle_length} "
        f"{settings.paddle_thickness}"
    )
    return f"{sub_path} {name} {number} {label} {drawn_with} {margin} 1\n"
