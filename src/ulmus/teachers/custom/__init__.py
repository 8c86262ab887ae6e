"""A user's own cells as teachers, in NEURON or Arbor."""
