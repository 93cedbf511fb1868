"""Runs on the disk: cards, saving, opening any run, converting, and what the package registries hold."""
