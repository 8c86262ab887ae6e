"""Spoken digits as spikes: the published data sets, how they are read, and how they are made."""
