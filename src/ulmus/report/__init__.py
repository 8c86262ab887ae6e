"""The report of a fit: one HTML file with every figure, which opens offline."""

from ulmus.report.content import (
    ClassifierContent,
    Confusion,
    Example,
    InputStretch,
    Learned,
    LearningCurve,
    RocCurve,
    ScoreRow,
    SurrogateContent,
    TimeConstants,
)
from ulmus.report.page import write_report

__all__ = [
    "ClassifierContent",
    "Confusion",
    "Example",
    "InputStretch",
    "Learned",
    "LearningCurve",
    "RocCurve",
    "ScoreRow",
    "SurrogateContent",
    "TimeConstants",
    "write_report",
]
