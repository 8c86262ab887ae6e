"""Detailed neurons that make training data: morphology, channels, synapses, input, simulation."""
