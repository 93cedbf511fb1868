"""Checks of exercise 14. The block is made beside the learner's code, of parts whose numbers are drawn here; its
outputs and gradients are compared with those of a slow loop over tokens."""

import torch

from minilmm.course.checking import Wrong, check, close, equal, generator, same


def drawn(salt, blind=False):
    """Text (2, 5, 4), pictures' tokens (2, 3, 4), a mask, the parts' matrices, and weights of the outputs."""
    g = generator(salt)
    y, x, upstream = (torch.randn(2, n, 4, generator=g) for n in (5, 3, 5))
    mask = torch.rand(2, 5, 3, generator=g) < 0.2
    mask |= torch.eye(3, dtype=torch.bool)[(torch.arange(10) % 3).view(2, 5)]  # one of three, at least
    if blind:
        mask[0, :2] = mask[1] = False
    return y, x, mask, [torch.randn(4, 4, generator=g) / 2 for _ in range(3)] + [torch.randn(4, generator=g)], upstream


def blocks(ex, alphas, y, x, mask, parts, upstream):
    """For each pair of alphas, None for those it is made with: the output; gradients of y, x and both alphas."""
    import torch

    of_y, of_x, inner, bias = parts

    def attention(y, x, mask):
        return mask.sum(-1, keepdim=True) * (y @ of_y + (x @ of_x).mean(1, keepdim=True))

    told = []
    for pair in alphas:
        block = ex.GatedBlock(attention, lambda y: (y @ inner).square() + bias)
        leaves = [y.clone().requires_grad_(True), x.clone().requires_grad_(True), block.alpha_xattn, block.alpha_dense]
        for gate, alpha in zip(leaves[2:], pair or (), strict=pair is not None):
            gate.data.fill_(alpha)
        out = block(*leaves[:2], mask)
        open_ways = [t for t in leaves if t.requires_grad] if out.requires_grad else []
        slopes = torch.autograd.grad((out * upstream).sum(), open_ways, allow_unused=True) if open_ways else []
        found = {id(t): slope for t, slope in zip(open_ways, slopes, strict=True)}
        told.append([out, *(found.get(id(t)) for t in leaves)])
    return told


def looped(alphas, y, x, mask, parts, upstream):
    """What `blocks` should give for one pair of alphas: token by token."""
    of_y, of_x, inner, bias = parts
    y, x, a, d = leaves = [t.clone().requires_grad_(True) for t in (y, x, *(torch.tensor([float(v)]) for v in alphas))]
    rows = []
    for text, pictures, marks in zip(y, x, mask, strict=True):
        for token, row in zip(text, marks, strict=True):
            if row.any():
                attended = int(row.sum()) * (token @ of_y + (pictures @ of_x).mean(0))
                token = token + (1 - 2 / ((2 * a).exp() + 1)) * attended
                token = token + (1 - 2 / ((2 * d).exp() + 1)) * ((token @ inner) ** 2 + bias)
            rows.append(token)
    out = torch.stack(rows).view(y.shape)
    slopes = torch.autograd.grad((out * upstream).sum(), leaves, allow_unused=True)
    return [out.detach(), *(torch.zeros_like(t) if s is None else s for t, s in zip(leaves, slopes, strict=True))]


def changed(came, y, what):
    """It must be another y than came in."""
    if torch.equal(came, y):
        raise Wrong(what, "another y where the gates are open", "y as it came")


@check(points=2, stage="values", hint="tanh(0) is 0: at the beginning the language model is what it was, bit for bit.")
def closed_at_first(ex):
    """A new block gives back its input and passes gradients on unchanged; with its gates open it does neither."""
    y, *rest = drawn(1)
    order = torch.randperm(4, generator=generator(2)).tolist()
    alphas = [None if i < 2 else (0.6, -0.9) for i in order]
    for pair, (out, slope, *_) in zip(alphas, ex.run(blocks, alphas, y, *rest), strict=True):
        if pair is None:
            equal(out, y, "the output of a new block")
            close(slope, rest[-1], "the gradient of y through a new block")
        else:
            changed(out, y, "the output of a block with alphas .6 and -.9")


@check(points=3, stage="values", hint="Each part is multiplied by the tanh of its own alpha.")
def each_gate(ex):
    """Each gate lets tanh of its own alpha through, and gradients go back through it to text and pictures."""
    given = drawn(3)
    alphas = [(0.88137359, 0.0), (-0.3, 0.0), (9.0, 0.0), (0.0, 0.5), (0.0, -1.1)]
    for pair, came in zip(alphas, ex.run(blocks, alphas, *given), strict=True):
        told = f"alpha_xattn {pair[0]:.2f}, alpha_dense {pair[1]:.2f}: "
        for value, expected, what in zip(came, looped(pair, *given)[:3], ("output", "y", "x"), strict=False):
            if what != "x" or pair[0]:  # where alpha_xattn is 0, no gradient need arrive at x
                close(value, expected, told + (what if what == "output" else f"the gradient of {what}"))


@check(points=1, stage="values", hint="The feed-forward reads what the attention has written.")
def one_after_the_other(ex):
    """The feed-forward works on y with what was seen: both parts equal your attention half, then your ffw half."""
    y, *middle, upstream = drawn(4)
    whole, half = ex.run(blocks, [(0.5, 0.7), (0.5, 0.0)], y, *middle, upstream)
    ((end, slope, *_),) = ex.run(blocks, [(0.0, 0.7)], half[0], *middle, upstream)
    changed(half[0], y, "the attention half")
    changed(end, half[0], "the ffw half")
    told = "both gates open, from your block with alpha_dense 0, then with alpha_xattn 0"
    close(whole[0], end, told)
    ((_, expected, *_),) = ex.run(blocks, [(0.5, 0.0)], y, *middle, slope)
    close(whole[1], expected, f"the gradient of y: {told}")


@check(
    points=2,
    stage="mask",
    hint="ffw is not 0 for tokens that see nothing: multiply it by whether the token's row of the mask holds a True.",
)
def blind_tokens(ex):
    """Tokens that see no picture pass unchanged, the feed-forward included, with both gates open; others do not."""
    y, x, mask, parts, upstream = drawn(5, blind=True)
    ((out, slope, *_),) = ex.run(blocks, [(0.7, -0.7)], y, x, mask, parts, upstream)
    blind = ~mask.any(-1)
    equal(out[blind], y[blind], "the first two tokens of a page with a picture, and all of one without")
    changed(out[~blind], y[~blind], "tokens that see a picture")
    same(None if slope is None else slope[blind], upstream[blind], "the gradient of tokens that see no picture")


def parameters(ex):
    block = ex.GatedBlock(lambda y, x, mask: y, lambda y: y)
    return [[name, list(p.shape)] for name, p in block.named_parameters()]


@check(points=1, stage="gradients", hint="An optimiser sees nn.Parameters alone.")
def gates_can_open(ex):
    """Both gates are parameters, and a closed one gets its gradient."""
    equal(sorted(ex.run(parameters)), [["alpha_dense", [1]], ["alpha_xattn", [1]]], "the parameters and their shapes")
    y, x, mask, *rest = drawn(6)
    given = [y, x, torch.ones_like(mask), *rest]
    ((_, _, _, *came),) = ex.run(blocks, [(0.0, 0.0)], *given)
    same(came, looped((0.0, 0.0), *given)[3:], "the gradients of the closed alpha_xattn and alpha_dense")
