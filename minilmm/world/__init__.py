"""The mini-world: scenes, pictures, a grammar, a text corpus and the tasks, all from a seed."""
