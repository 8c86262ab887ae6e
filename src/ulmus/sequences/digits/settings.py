"""Spoken digits as the ``data`` of a recipe."""

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from ulmus.arguments import MOST_WORKERS
from ulmus.sequences.digits.augmentation import ClipAugmentation
from ulmus.sequences.digits.batches import AddedDigits, Binning, Digits
from ulmus.sequences.digits.clips import open_digits
from ulmus.sequences.labelled_batches import LabelledBatches, LabelledSettings, Splits


class DigitsData(LabelledSettings):
    """Spoken digits as spikes on 700 channels, in the layout of the Spiking Heidelberg Digits."""

    kind: Literal["digits"]
    folder: str
    """Folder with files ``*_train.h5`` and ``*_test.h5``."""
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

    def open(self, batch: int, seed: int, share: tuple[int, int] = (0, 1)) -> Splits[LabelledBatches]:
        """Batches of clips, or of sums of two."""
        clips = open_digits(
            self.folder, validation=self.validation, share=self.validation_share, seed=self.validation_seed
        )
        binning = Binning(self.bin_ms, self.window_s)
        changes = ClipAugmentation(self.shift, self.jitter, self.stretch, self.drop)
        if self.task == "classify":
            held_out = (Digits(part, batch, binning) for part in clips[1:])
            return Splits(Digits(clips.train, batch, binning, seed, share, changes), *held_out)
        count = -(-self.held_out_sums // batch)
        sums = (
            AddedDigits(part, batch, binning, seed=number, batches_per_epoch=count)
            for number, part in enumerate(clips[1:])
        )
        return Splits(
            AddedDigits(clips.train, batch, binning, seed, self.batches_per_epoch, share, changes), *sums
        )
