"""Spoken digits as the ``data`` of a recipe."""

from typing import Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt

from ulmus.arguments import MOST_WORKERS
from ulmus.sequences.digits.augmentation import ClipAugmentation
from ulmus.sequences.digits.batches import AddedDigits, Binning, Digits
from ulmus.sequences.digits.clips import further_files, open_digits
from ulmus.sequences.labelled_batches import LabelledBatches, LabelledSettings, Splits
from ulmus.settings import Names


class DigitsData(LabelledSettings):
    """Spoken digits as spikes on 700 channels, in the layout of the Spiking Heidelberg Digits."""

    kind: Literal["digits"]
    folder: str
    """Folder with files ``*_train.h5`` and ``*_test.h5``."""
    more: Names = ()
    """Folders whose files ``*_train.h5`` are learnt from too, such as synthetic voices; nothing of them is held out."""
    task: Literal["classify", "add"] = "classify"
    """One digit per sequence, or two after each other to be added (SHD-Adding)."""
    bin_ms: PositiveFloat = 2.0
    """Length of a step."""
    window_s: PositiveFloat = 1.0
    """How much of a clip is used."""
    validation: Literal["speaker", "random", "published"] = "speaker"
    """Hold out speakers or clips of the training file, or use the published validation file."""
    validation_share: float = Field(default=0.2, gt=0, lt=1)
    """Share of the clips that are held out."""
    validation_seed: int = Field(default=0, ge=0)
    """Decides which clips; the same for every seed of a run, so that the same clips select the checkpoint of all runs."""
    batches_per_epoch: PositiveInt = 500
    """Batches in an epoch of added digits, which are drawn with replacement."""
    held_out_sums: PositiveInt = 2_000
    """Pairs of digits in the fixed validation and test sets of added digits."""
    shift: int = Field(default=0, ge=0)
    """Augmentation: a training clip moves as a whole by at most this many channels."""
    jitter: float = Field(default=0.0, ge=0)
    """Augmentation: standard deviation in channels by which every spike moves."""
    stretch: float = Field(default=0.0, ge=0, lt=1)
    """Augmentation: largest relative change of a clip's duration."""
    drop: float = Field(default=0.0, ge=0, lt=1)
    """Augmentation: probability that a spike is left out."""
    workers: int = Field(default=0, ge=0, le=MOST_WORKERS)
    """Processes that make batches; batches are the same for any number."""

    def for_scoring(self) -> Self:
        """Without what is learnt from beside the task."""
        return self.model_copy(update={"more": ()})

    def notes(self) -> list[str]:
        """More to learn from is more than the task gives."""
        if not self.more:
            return []
        return [
            f"it learnt from further clips too (data.more: {', '.join(self.more)}): compare these scores with those of models "
            "that learnt from as much"
        ]

    def open(self, batch: int, seed: int, share: tuple[int, int] = (0, 1)) -> Splits[LabelledBatches]:
        """Batches of clips, or of sums of two."""
        clips = open_digits(
            self.folder, validation=self.validation, share=self.validation_share, seed=self.validation_seed
        )
        further = further_files(self.more, self.folder)
        learnt = clips.train.with_files(further)
        binning = Binning(self.bin_ms, self.window_s)
        changes = ClipAugmentation(self.shift, self.jitter, self.stretch, self.drop)
        train: Digits
        if self.task == "classify":
            train = Digits(learnt, batch, binning, seed, share, changes)
            held_out = [Digits(part, batch, binning) for part in clips[1:]]
        else:
            train = AddedDigits(learnt, batch, binning, seed, self.batches_per_epoch, share, changes)
            count = -(-self.held_out_sums // batch)
            held_out = [
                AddedDigits(part, batch, binning, seed=number, batches_per_epoch=count)
                for number, part in enumerate(clips[1:])
            ]
        train.content_hash = clips.train.content_hash
        train.further = {f"data.more[{number}]": file.content_hash for number, file in enumerate(further)}
        return Splits(train, *held_out)
