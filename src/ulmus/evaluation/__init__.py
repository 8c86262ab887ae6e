"""How good a fitted neuron is: predictions, scores, how sure they are, where it fails and what it encodes."""
