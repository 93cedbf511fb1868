"""minilmm: Frozen, Flamingo and BLIP-2 from scratch, on one substrate."""

__version__ = "0.1.0"
