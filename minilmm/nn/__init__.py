"""The few parts that all models share: attention with a cache, transformer blocks, decoding."""
