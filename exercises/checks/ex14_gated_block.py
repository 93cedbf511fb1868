"""Checks of exercise 14. The block is made beside the learner's code, of parts whose output is known by hand."""

import torch

from minilmm.course.checking import check, close, equal, generator


def fresh(ex, y):
    import torch

    block = ex.GatedBlock(lambda y, x, mask: 100 * torch.ones_like(y), lambda y: 50 - y)
    return block(y, torch.ones(2, 3, 4), torch.ones(2, 5, 3, dtype=torch.bool))


@check(points=2, stage="values", hint="tanh(0) is 0: at the beginning the language model is what it was, bit for bit.")
def closed_at_first(ex):
    """A new block gives back its input, bit for bit."""
    y = torch.randn(2, 5, 4, generator=generator())
    equal(ex.run(fresh, y), y, "the output of a new block")


def one_open(ex, xattn, dense):
    import torch

    seen = torch.full((1, 2, 1), 3.0) if xattn else torch.zeros(1, 2, 1)
    block = ex.GatedBlock(lambda y, x, mask: seen, lambda y: y * y if dense else 0 * y)
    block.alpha_xattn.data.fill_(xattn)
    block.alpha_dense.data.fill_(dense)
    mask = torch.tensor([[[True, False], [True, True]]])
    return block(torch.tensor([[[1.0], [-2.0]]]), torch.ones(1, 2, 1), mask)


@check(points=3, stage="values", hint="Each part is multiplied by the tanh of its own alpha.")
def each_gate(ex):
    """Each gate lets tanh of its own alpha through."""
    half = 0.88137359  # arsinh(1): its tanh is the square root of 1/2
    got = torch.cat([ex.run(one_open, half, 0.0), ex.run(one_open, 0.0, 20.0)])
    # the first: 1 + .70711 * 3 and -2 + .70711 * 3; the second, wide open: 1 + 1 * 1 and -2 + 1 * 4
    expected = torch.tensor([[[3.12132], [0.12132]], [[2.0], [2.0]]])
    close(got, expected, "tokens 1 and -2: attention 3 through alpha .88, then ffw y^2 through alpha 20")


def in_halves(ex):
    import torch

    def block_of(attention, ffw):
        block = ex.GatedBlock(attention, ffw)
        block.alpha_xattn.data.fill_(0.5)
        block.alpha_dense.data.fill_(0.5)
        return lambda y: block(y, torch.ones(1, 2, 1), torch.ones(1, 3, 2, dtype=torch.bool))

    y = torch.tensor([[[1.0], [-2.0], [0.5]]])
    looks, thinks, nothing = lambda y, x, mask: 2 * y, lambda y: y * y, lambda y, *_: 0 * y
    return [block_of(looks, thinks)(y), block_of(nothing, thinks)(block_of(looks, nothing)(y))]


@check(points=1, stage="values", hint="The feed-forward reads what the attention has written.")
def one_after_the_other(ex):
    """The feed-forward works on y with what was seen: both parts equal your attention half, then your ffw half."""
    whole, halves = ex.run(in_halves)
    close(whole, halves, "both gates half open, from your block with the ffw 0, then with the attention 0")


def blind(ex):
    import torch

    def attention(y, x, mask):
        return 7.0 * mask.any(-1, keepdim=True) * torch.ones_like(y)

    block = ex.GatedBlock(attention, lambda y: y + 10)
    block.alpha_xattn.data.fill_(0.7)
    block.alpha_dense.data.fill_(-0.7)
    mask = torch.zeros(2, 4, 3, dtype=torch.bool)
    mask[0, 2:, 0] = True
    y = torch.arange(16.0).view(2, 4, 2) + 1
    return block(y, torch.ones(2, 3, 2), mask)[~mask.any(-1)]


@check(
    points=2,
    stage="mask",
    hint="ffw is not 0 for tokens that see nothing: multiply it by whether the token's row of the mask holds a True.",
)
def blind_tokens(ex):
    """Tokens that see no picture pass unchanged, the feed-forward included, with both gates open."""
    y = torch.arange(16.0).view(2, 4, 2) + 1
    expected = torch.cat([y[0, :2], y[1]])
    equal(ex.run(blind), expected, "the first two tokens of a page with a picture, and all of one without")


def gradients(ex):
    import torch

    block = ex.GatedBlock(lambda y, x, mask: 3 * torch.ones_like(y), lambda y: 2 * torch.ones_like(y))
    parameters = dict(block.named_parameters())
    told = [n in parameters and list(parameters[n].shape) == [1] for n in ("alpha_xattn", "alpha_dense")]
    for p in (block.alpha_xattn, block.alpha_dense):
        p.data.fill_(0.0)
    y = torch.ones(1, 5, 1, requires_grad=True)
    block(y, torch.ones(1, 1, 1), torch.ones(1, 5, 1, dtype=torch.bool)).sum().backward()
    slope = block.alpha_xattn.grad
    return [*told, slope is not None and bool(slope != 0)]


@check(points=1, stage="gradients", hint="An optimiser sees nn.Parameters alone.")
def gates_can_open(ex):
    """Both gates are parameters, and a closed one gets a gradient."""
    told = "are alpha_xattn and alpha_dense parameters of shape (1,)? does the closed alpha_xattn get a gradient?"
    equal(ex.run(gradients), [True, True, True], told)
