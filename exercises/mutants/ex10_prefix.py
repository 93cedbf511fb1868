"""Known-wrong answers to exercise 10."""

from minilmm.course.exercises import Mutant

MUTANTS = [
    Mutant("n-and-width-swapped", (("unflatten(-1, (n, -1))", "unflatten(-1, (-1, n)).transpose(1, 2)"),),
           "the outputs are dealt out in turn: every vector gets each n-th number", caught_by="prefix_values"),
    Mutant("not-transposed", (("unflatten(-1, (n, -1))", "unflatten(-1, (-1, n))"),),
           "the last two dimensions have changed places", caught_by="prefix_shape"),
    Mutant("tag-kept", (("start = tag + 1", "start = tag"),),
           "the tag's own embedding stays behind its picture", caught_by="one_picture"),
    Mutant("behind-the-next-word", (("parts += [words[start:tag], vectors]\n        start = tag + 1",
                                     "parts += [words[start:tag], words[tag + 1 : tag + 2], vectors]\n        start = tag + 2"),),
           "the picture stands one word too late", caught_by="one_picture"),
    Mutant("vectors-reversed", (("parts += [words[start:tag], vectors]", "parts += [words[start:tag], vectors.flip(0)]"),),
           "a prefix's vectors stand in reverse", caught_by="one_picture"),
    Mutant("first-for-all", (("parts += [words[start:tag], vectors]", "parts += [words[start:tag], prefixes[0]]"),),
           "every tag gets the first picture", caught_by="two_pictures"),
    Mutant("pictures-reversed", (("zip(tags, prefixes, strict=True)", "zip(tags, prefixes.flip(0), strict=True)"),),
           "the last picture comes first", caught_by="two_pictures"),
    Mutant("old-places", (("    parts, start = [], 0\n    for tag, vectors in zip(tags, prefixes, strict=True):\n",
                           "    for tag, vectors in zip(tags, prefixes, strict=True):\n"
                           "        words = torch.cat([words[:tag], vectors, words[tag + 1 :]])\n"
                           "    parts, start = [], 0\n    for tag, vectors in ():\n"),),
           "the second picture goes to its tag's old place, though the first prefix has moved the tag",
           caught_by="two_pictures"),
    Mutant("all-at-the-first", (("    parts, start = [], 0\n", "    parts, start = [], 0\n"
                                 "    prefixes = [torch.cat([*prefixes]), *[words[:0]] * (len(tags) - 1)]\n"),),
           "all pictures stand at the first tag", caught_by="two_pictures"),
    Mutant("from-the-start", (("parts += [words[start:tag], vectors]", "parts += [words[:tag], vectors]"),),
           "the words before a tag are taken from the beginning each time, so that they come twice",
           caught_by="two_pictures"),
    Mutant("uncounted", (("if len(tags) != len(prefixes):", "if len(tags) < 0:"), (", strict=True)", ", strict=False)")),
           "a tag without a picture is passed over in silence", caught_by="as_many_as_tags"),
    Mutant("two-vectors", (('(n, -1)', '(2, -1)'),),
           "every prefix has two vectors, whatever n is", caught_by="prefix_values"),
    Mutant("features-cut", (('(pooled @', '(pooled.detach() @'),),
           "no gradient comes to the pictures' features: an encoder behind them could not learn", caught_by="prefix_values"),
    Mutant("prefix-cut", (('zip(tags, prefixes,', 'zip(tags, prefixes.detach(),'),),
           "the prefixes are detached: the map that makes them cannot learn", caught_by="one_picture"),
    Mutant("two-tags-at-most", (('zip(tags, prefixes, strict=True)', 'list(zip(tags, prefixes, strict=True))[:2]'),),
           "only the first two tags get their pictures", caught_by="every_document"),
    Mutant("side-by-side", (('parts += [words[start:tag], vectors]', 'parts += [words[start:tag], vectors] if tag == 0 or tag > start else []'),),
           "of tags side by side only the first gets its picture", caught_by="every_document"),
    Mutant("too-many-pictures", (('if len(tags) != len(prefixes):', 'if len(tags) > len(prefixes):'),
            (', strict=True)', ', strict=False)'),),
           "pictures without a tag are passed over in silence", caught_by="as_many_as_tags"),
]  # fmt: skip
