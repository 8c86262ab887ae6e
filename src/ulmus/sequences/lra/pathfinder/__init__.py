"""Pathfinder: files of the published layout, and images made here."""
