"""Expressive Leaky Memory neurons: fit them to detailed neurons, train them on long sequences, run them fast."""
