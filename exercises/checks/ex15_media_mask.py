"""Checks of exercise 15. Oracles: pages written out by hand."""

import torch

from minilmm.course.checking import check, equal

PAGE = [1, 50, 51, 3, 60, 61, 4, 3, 3, 62, 4]  # <bos> a b <image> c d <EOC> <image> <image> e <EOC>


@check(points=2, stage="values", hint="How many tags have come so far? That is the number of the latest one.")
def the_last_picture(ex):
    """Text looks at the last picture before it."""
    phi = ex.last_image(torch.tensor([PAGE]))
    equal(phi[0, [4, 5, 6, 9, 10]], torch.tensor([1, 1, 1, 3, 3]), "the picture of c d <EOC> and of e <EOC>")


@check(points=1, stage="values", hint="Count the tag itself: it stands for its own picture, looking back or ahead.")
def the_tag_itself(ex):
    """A tag looks at its own picture, in documents that look ahead too."""
    phi = ex.last_image(torch.tensor([PAGE, PAGE]), torch.tensor([False, True]))
    equal(phi[:, [3, 7, 8]], torch.tensor([[1, 2, 3], [1, 2, 3]]), "the pictures of the three tags, back and ahead")


@check(points=1, stage="values", hint="Before the first picture there is nothing to look at: 0, not 1.")
def before_any_picture(ex):
    """Text in front of the first picture looks at none."""
    phi = ex.last_image(torch.tensor([PAGE, [1, *range(50, 60)]]))
    told = phi[0, :3].tolist() + phi[1].tolist()
    equal(told, [0] * 14, "the picture of text before the first one, then of a page without pictures")


@check(points=1, stage="mask", hint="A page that is shorter than its neighbours still ends behind a picture.")
def padding(ex):
    """Padding looks at none, left or right, back or ahead."""
    ids = torch.tensor([[1, 3, 50, 0, 0], [0, 0, 1, 50, 3], [0, 0, 1, 3, 50]])
    phi = ex.last_image(ids, torch.tensor([False, True, False]))
    equal(phi[ids == 0], torch.zeros(6, dtype=torch.long), "the pictures that the six pads look at")


@check(points=1, stage="values", hint="The next picture's number is one more than the last one's, for text only.")
def looking_ahead(ex):
    """Text of documents that look ahead sees the next picture; the other documents' text does not."""
    phi = ex.last_image(torch.tensor([PAGE, PAGE]), torch.tensor([True, False]))
    words = [1, 2, 4, 5, 6]
    equal(phi[:, words], torch.tensor([[1, 1, 2, 2, 2], [0, 0, 1, 1, 1]]), "the picture of a b c d <EOC>, ahead, back")


@check(points=1, stage="values", hint="Behind the last tag no picture follows: nothing to look at.")
def behind_the_last(ex):
    """Looking ahead, text behind the last picture sees none, however many pictures its neighbour has."""
    ids = torch.tensor([[1, 50, 3, 60, 3, 61], [1, 50, 51, 3, 60, 61], [1, 50, 51, 52, 53, 54]])
    phi = ex.last_image(ids, torch.tensor([True, True, True]))
    told = phi[[0, 1, 1, 2], [5, 4, 5, 5]]
    equal(told, torch.tensor([0, 0, 0, 0]), "the picture of text behind the last one: of 2, of 1, of 1, of 0 pictures")


@check(points=2, stage="mask", hint="Compare phi with 1, 2, ..., N: one picture or none.")
def one_picture_or_none(ex):
    """A token may look at picture phi and at no other, and at none where phi is 0."""
    mask = ex.media_mask(torch.tensor([[0, 1, 3], [2, 0, 2]]), 3, 1)
    o, x = False, True
    expected = torch.tensor([[[o, o, o], [x, o, o], [o, o, x]], [[o, x, o], [o, o, o], [o, x, o]]])
    equal(mask, expected, "media_mask of phi (0, 1, 3) and (2, 0, 2)")


@check(points=1, stage="shape", hint="Picture 1's tokens all come before picture 2's.")
def all_its_tokens(ex):
    """All tokens of a picture are seen or none, and they stand side by side."""
    phi = torch.tensor([[0, 1, 1, 2]])
    whole = ex.media_mask(phi, 2, 1)
    expected = torch.stack([whole, whole, whole], -1).flatten(-2)
    equal(ex.media_mask(phi, 2, 3), expected, "media_mask for 3 tokens per picture, from your own for 1")
