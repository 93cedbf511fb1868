"""The mini-world: scenes, pictures, a grammar, questions and a text corpus, all from a seed."""
