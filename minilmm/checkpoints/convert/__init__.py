"""Checkpoints of transformers in our own modules, and back: equal weights, equal logits. `folders.convert` does it."""
