"""All kinds of labelled data that a recipe can name: a new kind is one file, and one entry here."""

from typing import Annotated, get_args

from pydantic import Field

from ulmus.sequences.digits.settings import DigitsData
from ulmus.sequences.lra.settings import SequencesData

LabelledData = Annotated[DigitsData | SequencesData, Field(discriminator="kind")]
"""Sequences with a class each; ``kind`` says which settings are meant."""

LABELLED_KINDS: tuple[str, ...] = tuple(
    get_args(kind.model_fields["kind"].annotation)[0] for kind in get_args(get_args(LabelledData)[0])
)
"""Their names."""
