"""The report of a fit: one HTML file with every figure, which opens offline."""

from typing import TYPE_CHECKING

from ulmus.lazy import lazy

if TYPE_CHECKING:
    from ulmus.report.content import (
        ClassifierContent,
        Confusion,
        Example,
        InputStretch,
        InputTrace,
        Learned,
        LearningCurve,
        RocCurve,
        ScoreRow,
        SurrogateContent,
        TimeConstants,
    )
    from ulmus.report.model_page import report
    from ulmus.report.page import write_report

__all__ = [
    "ClassifierContent",
    "Confusion",
    "Example",
    "InputStretch",
    "InputTrace",
    "Learned",
    "LearningCurve",
    "RocCurve",
    "ScoreRow",
    "SurrogateContent",
    "TimeConstants",
    "report",
    "write_report",
]

__getattr__, __dir__ = lazy(__name__)
