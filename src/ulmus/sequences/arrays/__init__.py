"""Anybody's sequences: from arrays, tensors or files, checked before anything learns from them."""
