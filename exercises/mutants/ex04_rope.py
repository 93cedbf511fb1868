"""Known-wrong answers to exercise 04."""

from minilmm.course.exercises import Mutant

MUTANTS = [
    Mutant("half-the-exponent", (("torch.arange(0, width, 2)", "torch.arange(width // 2)"),),
           "pair i turns by theta^(-i/width): the exponent is halved", caught_by="the_frequencies"),
    Mutant("index-for-position", (("return positions[:, None]", "return torch.arange(len(positions))[:, None]"),),
           "the index counts and not the position, which fails as soon as positions do not start at 0",
           caught_by="the_frequencies"),
    Mutant("growing-frequency", (("theta ** (-torch", "theta ** (torch"),),
           "later pairs turn faster: the exponent's sign is lost", caught_by="the_frequencies"),
    Mutant("neighbours", (("a, b = x.chunk(2, -1)", "a, b = x[..., ::2], x[..., 1::2]"),
                          ("torch.cat([", "torch.stack(["), ("+ a * angle.sin()], -1)", "+ a * angle.sin()], -1).flatten(-2)")),
           "neighbouring dimensions are pairs: the layout of the paper, not of Llama", caught_by="half_turns"),
    Mutant("no-minus", (("a * angle.cos() - b * angle.sin()", "a * angle.cos() + b * angle.sin()"),),
           "the minus is missing: that is no rotation", caught_by="one_pair"),
    Mutant("one-half", (("return torch.cat([a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()], -1)",
                         "turned = torch.cat([a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()], -1)\n"
                         "    return turned if turned.dim() == 2 else turned[..., : turned.shape[-2], :].transpose(1, 2)"),),
           "heads and positions change places", caught_by="shapes"),
    Mutant("theta-fixed", (('frequency = theta', 'frequency = 10_000.0'),),
           "theta is always 10000, whatever is given", caught_by="the_frequencies"),
    Mutant("from-the-first", (('return positions[:, None]', 'return (positions - positions[0])[:, None]'),),
           "positions are counted from the first that is given", caught_by="the_frequencies"),
    Mutant("clockwise", (('    a, b = x', '    angle = -angle\n    a, b = x'),),
           "vectors turn clockwise", caught_by="one_pair"),
    Mutant("one-angle-for-all-pairs", (('    a, b = x', '    angle = angle[:, :1]\n    a, b = x'),),
           "every pair turns as the first does", caught_by="half_turns"),
    Mutant("batches-by-the-first-angle", (('    a, b = x', '    angle = angle[:1] if x.dim() > 2 else angle\n    a, b = x'),),
           "in a batch every position turns by the first one's angle", caught_by="every_vector"),
    Mutant("cut", (('x.chunk', 'x.detach().chunk'),),
           "the vectors are detached: nothing behind a rotation can learn", caught_by="one_pair"),
]  # fmt: skip
