"""Known-wrong answers to exercise 24."""

from minilmm.course.exercises import Mutant

ODDS = 'return similar.masked_fill(fits, float("-inf")).softmax(1)'
DRAW = "return torch.multinomial(odds(similar, fits), 1, generator=generator)[:, 0]"
TEXT, IMAGE = "wrong_text = draw(similar, fits, generator)", "wrong_image = draw(similar.T, fits.T, generator)"

MUTANTS = [
    Mutant("easy-negatives", ((ODDS, "return (~fits).float() / (~fits).sum(1, keepdim=True)"),),
           "all wrong ones are equally likely: most of them are told apart at once, and little is learned",
           caught_by="alike_is_likely"),
    Mutant("easiest-negatives", ((ODDS, 'return (-similar).masked_fill(fits, float("-inf")).softmax(1)'),),
           "the least alike is the likeliest", caught_by="alike_is_likely"),
    Mutant("hardest-only", ((ODDS, 'alike = similar.masked_fill(fits, float("-inf"))\n'
                             "    best = (alike == alike.amax(1, keepdim=True)).float()\n    return best / best.sum(1, keepdim=True)"),),
           "the most alike is drawn always: a wrong text that happens to fit would be taught again and again",
           caught_by="alike_is_likely"),
    Mutant("in-proportion", ((ODDS, "shift = similar - similar.amin(1, keepdim=True) + 1\n"
                              "    return shift * ~fits / (shift * ~fits).sum(1, keepdim=True)"),),
           "the odds are in proportion to the similarity and not to its exp", caught_by="alike_is_likely"),
    Mutant("temperature-again", ((ODDS, ODDS.replace("similar.masked", "(similar / 0.07).masked")),),
           "the similarities are divided by a temperature once more", caught_by="alike_is_likely"),
    Mutant("pair-included", ((ODDS, "return similar.softmax(1)"),),
           "the right partner may be drawn as the wrong one, and is so most often: it is the most alike",
           caught_by="never_a_right_one"),
    Mutant("diagonal-only", ((ODDS, "own = torch.eye(*similar.shape, dtype=torch.bool)\n"
                              '    return similar.masked_fill(own, float("-inf")).softmax(1)'),),
           "only the own partner is spared: a text that says the very same is taught to be wrong",
           caught_by="never_a_right_one"),
    Mutant("zeroed-scores", ((ODDS, "return similar.masked_fill(fits, 0.0).softmax(1)"),),
           "similarities of right ones are set to 0, whose exp is 1: they are drawn all the same",
           caught_by="never_a_right_one"),
    Mutant("not-renormalised", ((ODDS, "return similar.softmax(1) * ~fits"),),
           "right ones are removed after the softmax: where they are far more alike, nothing remains to draw from",
           caught_by="never_a_right_one"),
    Mutant("sigmoid-floor", ((ODDS, "return similar.masked_fill(fits, similar.amin() - 1).softmax(1)"),),
           "right ones get a low score instead of -inf: they are drawn now and then", caught_by="never_a_right_one"),
    Mutant("overflow", ((ODDS, "alike = similar.masked_fill(fits, 0.0).exp() * ~fits\n    return alike / alike.sum(1, keepdim=True)"),),
           "exp of large similarities is infinite", caught_by="far_apart"),
    Mutant("capped", ((ODDS, ODDS.replace("similar.masked", "similar.clamp(max=80).masked")),),
           "similarities are cut off at a number whose exp is finite: those above it are all alike", caught_by="far_apart"),
    Mutant("not-refused", (("if bool(fits.all(1).any()):", "if bool(fits.all()):"),),
           "a row that everything fits is accepted in silence: its odds are NaN", caught_by="nothing_wrong"),
    Mutant("refused-unless-all", (("    if bool(fits.all(1).any()):\n        raise ValueError(\"everything fits a row of this batch: "
                                   "no wrong pair can be drawn; use a larger batch\")\n", ""),
                                  (ODDS, "fits = fits & ~fits.all(1, keepdim=True)\n    " + ODDS)),
           "where everything fits, a right one is drawn as wrong", caught_by="nothing_wrong"),
    Mutant("argmax", ((DRAW, "return odds(similar, fits).argmax(1)"),),
           "the likeliest is taken and nothing is drawn", caught_by="drawn_by_the_odds"),
    Mutant("drawn-evenly", ((DRAW, "return torch.multinomial((odds(similar, fits) > 0).float(), 1, generator=generator)[:, 0]"),),
           "all columns with any chance are drawn equally often", caught_by="drawn_by_the_odds"),
    Mutant("one-for-all", ((DRAW, "chosen = torch.multinomial(odds(similar, fits), 1, generator=generator)[:, 0]\n"
                            "    return chosen[:1].expand(len(chosen))"),),
           "one column is drawn for all rows of the batch", caught_by="drawn_by_the_odds"),
    Mutant("one-number-for-all", ((DRAW, "number = torch.rand(1, generator=generator)\n"
                                   "    return (odds(similar, fits).cumsum(1) < number).sum(1).clamp(max=similar.shape[1] - 1)"),),
           "one random number decides for all rows: rows that are alike draw alike", caught_by="drawn_by_the_odds"),
    Mutant("column-kept", ((DRAW, DRAW.replace("[:, 0]", "")),),
           "multinomial's column stays: (B, 1) and not (B,)", caught_by="drawn_by_the_odds"),
    Mutant("seeded-again", ((DRAW, "generator = torch.Generator().manual_seed(generator.initial_seed())\n    " + DRAW),),
           "the generator is seeded again for every draw: each draw is the first one", caught_by="the_given_generator"),
    Mutant("generator-ignored", ((", 1, generator=generator)", ", 1)"),),
           "the generator is not used: a run cannot be repeated", caught_by="the_given_generator"),
    Mutant("hardest-partners", ((TEXT, "wrong_text = odds(similar, fits).argmax(1)"), (IMAGE, "wrong_image = odds(similar.T, fits.T).argmax(1)")),
           "the likeliest partners are taken and not drawn", caught_by="both_ways"),
    Mutant("texts-twice", ((IMAGE, "wrong_image = draw(similar, fits, generator)"),),
           "texts get their wrong partner from the pictures' rows", caught_by="both_ways"),
    Mutant("swapped", (("return wrong_text, wrong_image", "return wrong_image, wrong_text"),),
           "wrong pictures come where wrong texts are asked for", caught_by="both_ways"),
    Mutant("one-draw", ((IMAGE, "wrong_image = wrong_text.roll(1)"),),
           "a picture's wrong text is used again for the next text, instead of a draw of its own", caught_by="both_ways"),
]  # fmt: skip
