"""A few-shot prompt: pictures and words in one line (Frozen, section 3.3; Flamingo, section 2.2)."""

BOS, IMAGE, EOC = 1, 3, 4  # token ids: the beginning, a picture's place, the end of what is said of a picture


def build_prompt(
    demonstrations: list[tuple[int, list[int]]], query: int, order: list[int]
) -> tuple[list[int], list[int]]:
    """The token ids of a prompt, and the pictures that belong to its tags.

    demonstrations: (number of a picture, ids of the words that go with it); query: the number of the picture to be
    named; order: the demonstrations' places in the prompt, such as [2, 0, 1].

    -> ids: <bos>, then for every demonstration <image>, its words, <EOC>, and at the very end <image> for the query.
    -> pictures: the pictures' numbers in the order of their tags.
    ValueError where the query's picture is among the demonstrations: the answer would stand in the prompt.
    """
    # BEGIN SOLUTION
    shown = [picture for picture, _ in demonstrations]
    if query in shown:
        raise ValueError(f"picture {query} is the query and a demonstration: leave it out of the demonstrations")
    ids, pictures = [BOS], []
    for place in order:
        picture, words = demonstrations[place]
        ids += [IMAGE, *words, EOC]
        pictures.append(picture)
    return [*ids, IMAGE], [*pictures, query]
    # END SOLUTION
