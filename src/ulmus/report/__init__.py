"""The report of a fit: one HTML file with every figure, which opens offline."""

from ulmus.report.content import (
    Example,
    InputGroup,
    Learned,
    LearningCurve,
    ReportContent,
    RocCurve,
    Score,
)
from ulmus.report.page import write_report

__all__ = [
    "Example",
    "InputGroup",
    "Learned",
    "LearningCurve",
    "ReportContent",
    "RocCurve",
    "Score",
    "write_report",
]
