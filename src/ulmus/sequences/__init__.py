"""Sequence classification: spoken digits as spikes, and the tasks of Long Range Arena."""
