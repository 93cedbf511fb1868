"""Checks of exercise 15. Oracles: pages written out by hand, random pages read by a loop."""

import torch

from minilmm.course.checking import Wrong, check, equal, generator

PAGE = [1, 50, 51, 3, 60, 61, 4, 3, 3, 62, 4]  # <bos> a b <image> c d <EOC> <image> <image> e <EOC>
TAG = 3


def pages(salt, B=5, L=14):
    """Random pages without padding: words, <EOC> and three tags at least; and how many tags a loop has seen so far."""
    g = generator(salt)
    ids = torch.randint(50, 70, (B, L), generator=g)
    for row in ids:
        places = torch.randperm(L - 2, generator=g) + 1
        row[places[:2]], row[places[2:5]] = 4, TAG
        row[places[5 : 5 + int(torch.randint(3, (1,), generator=g))]] = TAG
    return ids, torch.tensor([[row[: i + 1].count(TAG) for i in range(L)] for row in ids.tolist()])


@check(points=2, stage="values", hint="How many tags have come so far? That is the number of the latest one.")
def the_last_picture(ex):
    """Text looks at the last picture before it."""
    phi = ex.last_image(torch.tensor([PAGE]))
    equal(phi[0, [4, 5, 6, 9, 10]], torch.tensor([1, 1, 1, 3, 3]), "the picture of c d <EOC> and of e <EOC>")
    for salt, flags in ((1, None), (2, torch.zeros(5, dtype=torch.bool))):
        ids, tags = pages(salt)
        given = (ids,) if flags is None else (ids, flags)
        text = (ids != TAG) & (tags > 0)
        equal(ex.last_image(*given)[text], tags[text], "the pictures of all text behind a first picture, on five pages")


@check(points=1, stage="values", hint="Count the tag itself: it stands for its own picture, looking back or ahead.")
def the_tag_itself(ex):
    """A tag looks at its own picture, in documents that look ahead too."""
    phi = ex.last_image(torch.tensor([PAGE, PAGE]), torch.tensor([False, True]))
    equal(phi[:, [3, 7, 8]], torch.tensor([[1, 2, 3], [1, 2, 3]]), "the pictures of the three tags, back and ahead")
    ids, tags = pages(3)
    ahead = torch.rand(5, generator=generator(4)) < 0.5
    equal(ex.last_image(ids, ahead)[ids == TAG], tags[ids == TAG], "the pictures of all tags, on five pages")


@check(points=1, stage="values", hint="Before the first picture there is nothing to look at: 0, not 1.")
def before_any_picture(ex):
    """Text in front of the first picture looks at none, text behind it at that."""
    phi = ex.last_image(torch.tensor([PAGE, [1, *range(50, 60)]]))
    told = phi[0, :3].tolist() + phi[1].tolist()
    equal(told, [0] * 14, "the picture of text before the first one, then of a page without pictures")
    for words in torch.randperm(6, generator=generator(5))[:3].tolist():
        phi = ex.last_image(torch.tensor([[*range(50, 50 + words), TAG, 60, 61], [*range(70, 73 + words)]]))
        told = [[*phi[0, :words].tolist(), *phi[0, -2:].tolist()], phi[1].tolist()]
        expected = [[0] * words + [1, 1], [0] * (words + 3)]
        equal(told, expected, f"{words} words, a tag, two words; a page of words alone")


@check(points=1, stage="mask", hint="A page that is shorter than its neighbours still ends behind a picture.")
def padding(ex):
    """Padding looks at none, left or right, back or ahead; the words beside it look at their picture."""
    ids = torch.tensor([[1, 3, 50, 0, 0], [0, 0, 1, 50, 3], [0, 0, 1, 3, 50], [1, 50, 3, 0, 0]])
    ahead = torch.tensor([False, True, False, True])
    for rows in ([0, 1, 2, 3], torch.randperm(4, generator=generator(6)).tolist()):
        phi = ex.last_image(ids[rows], ahead[rows])
        equal(phi[ids[rows] == 0], torch.zeros(8, dtype=torch.long), "the pictures that the eight pads look at")
        equal(phi[ids[rows] == 50], torch.ones(4, dtype=torch.long), "the picture of each page's one word")


@check(points=1, stage="values", hint="The next picture's number is one more than the last one's, for text only.")
def looking_ahead(ex):
    """Text of documents that look ahead sees the next picture; the other documents' text does not."""
    phi = ex.last_image(torch.tensor([PAGE, PAGE]), torch.tensor([True, False]))
    words = [1, 2, 4, 5, 6]
    equal(phi[:, words], torch.tensor([[1, 1, 2, 2, 2], [0, 0, 1, 1, 1]]), "the picture of a b c d <EOC>, ahead, back")
    ids, tags = pages(7)
    ahead = torch.arange(5)[torch.randperm(5, generator=generator(8))] < 3
    text = (ids != TAG) & (tags < tags[:, -1:])
    expected = torch.where(ahead[:, None], tags + 1, tags)
    got = ex.last_image(ids, ahead)[text]
    equal(got, expected[text], "all text in front of a last picture: three pages of five look ahead")


@check(points=1, stage="values", hint="Behind the last tag no picture follows: nothing to look at.")
def behind_the_last(ex):
    """Looking ahead, text behind the last picture sees none, however many pictures its neighbour has."""
    ids = torch.tensor([[1, 50, 3, 60, 3, 61], [1, 50, 51, 3, 60, 61], [1, 50, 51, 52, 53, 54]])
    phi = ex.last_image(ids, torch.tensor([True, True, True]))
    told = phi[[0, 1, 1, 2], [5, 4, 5, 5]]
    equal(told, torch.tensor([0, 0, 0, 0]), "the picture of text behind the last one: of 2, of 1, of 1, of 0 pictures")
    equal(phi[[0, 0, 1], [1, 3, 2]], torch.tensor([1, 2, 1]), "the picture of text in front of it")
    ids, tags = pages(9)
    tail = (ids != TAG) & (tags == tags[:, -1:])
    phi = ex.last_image(ids, torch.ones(5, dtype=torch.bool))
    equal(phi[tail], torch.zeros(int(tail.sum()), dtype=torch.long), "all text behind a last picture, on five pages")


@check(points=2, stage="mask", hint="Compare phi with 1, 2, ..., N: one picture or none.")
def one_picture_or_none(ex):
    """A token may look at picture phi and at no other, and at none where phi is 0."""
    mask = ex.media_mask(torch.tensor([[0, 1, 3], [2, 0, 2]]), 3, 1)
    o, x = False, True
    expected = torch.tensor([[[o, o, o], [x, o, o], [o, o, x]], [[o, x, o], [o, o, o], [o, x, o]]])
    equal(mask, expected, "media_mask of phi (0, 1, 3) and (2, 0, 2)")
    for images in (2, 5):
        phi = torch.randint(images, (3, 4), generator=generator(10))  # nobody looks at the last one
        expected = torch.tensor([[[j + 1 == p for j in range(images)] for p in row] for row in phi.tolist()])
        what = f"media_mask of {images} pictures, the last of which nobody looks at"
        equal(ex.media_mask(phi, images, 1), expected, what)


@check(points=1, stage="mask", hint="Picture 1's tokens all come before picture 2's.")
def all_its_tokens(ex):
    """All tokens of a picture are seen or none, and they stand side by side."""
    phi = torch.tensor([[0, 1, 1, 2], [2, 3, 0, 3]])
    for images, latents in ((3, 2), (4, 3)):
        whole = ex.media_mask(phi, images, 1)
        if bool(whole.all()) or not bool(whole.any()):
            raise Wrong("media_mask for 1 token per picture", "some pictures seen and some not", "all of them or none")
        expected = torch.stack([whole] * latents, -1).flatten(-2)
        what = f"media_mask for {latents} tokens per picture, from your own for 1"
        equal(ex.media_mask(phi, images, latents), expected, what)
