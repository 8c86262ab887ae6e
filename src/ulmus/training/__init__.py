"""Fit neurons to trials: recipes, run folders, training, evaluation."""
