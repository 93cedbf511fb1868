"""Known-wrong answers to exercise 29."""

from minilmm.course.exercises import Mutant

TEXTS = "texts = [row[row != PAD] for row in ids]"
PREFIX = "prefixes = [text[:length] for text, length in zip(texts, cut, strict=True)]"
SUFFIX = "suffixes = [text[length:] for text, length in zip(texts, cut, strict=True)]"
LABELS = "pad_sequence(suffixes, batch_first=True, padding_value=IGNORE)"
MASK = "mask = F.pad(prefix != PAD, (soft.shape[1], 0), value=True)"
JOINED = "return torch.cat([soft, words], 1), mask"
SAID = "said = labels.masked_fill(labels == IGNORE, PAD)"
READ = "return F.pad(said[:, :-1], (1, 0), value=start)"
LOSS = "return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORE)"

MUTANTS = [
    Mutant("answer-read", ((PREFIX, "prefixes = texts"),),
           "the encoder reads the whole text: what the decoder is asked for stands there to be copied",
           caught_by="what_is_read"),
    Mutant("one-word-too-many", ((PREFIX, PREFIX.replace("text[:length]", "text[: length + 1]")),),
           "the prefix holds the first word that is to be said", caught_by="what_is_read"),
    Mutant("prefix-of-pads", ((PREFIX, PREFIX.replace("text[:length] for text, length in zip(texts, cut, strict=True)",
                                                      "row[:length] for row, length in zip(ids, cut, strict=True)")),),
           "the cut counts padding: of a text padded on the left the prefix is padding", caught_by="what_is_read"),
    Mutant("padded-in-front", (("    prefix = pad_sequence(prefixes, batch_first=True, padding_value=PAD)",
                                "    prefix = pad_sequence([p.flip(0) for p in prefixes], batch_first=True, padding_value=PAD).flip(1)"),),
           "prefixes are padded on the left: padding stands between the queries and their text", caught_by="what_is_read"),
    Mutant("never-empty", ((PREFIX, PREFIX.replace("text[:length]", "text[: max(length, 1)]")),),
           "a prefix is given a word though it should be empty", caught_by="what_is_read"),
    Mutant("all-is-said", ((SUFFIX, "suffixes = texts"),),
           "the decoder is asked for the whole text, its prefix included, as a decoder alone would be",
           caught_by="what_is_said"),
    Mutant("one-word-lost", ((SUFFIX, SUFFIX.replace("text[length:]", "text[min(length + 1, len(text) - 1) :]")),),
           "the first word behind the cut is neither read nor said", caught_by="what_is_said"),
    Mutant("pads-said", ((LABELS, LABELS.replace("IGNORE", "PAD")),),
           "labels are filled with PAD: the decoder learns to say it", caught_by="what_is_said"),
    Mutant("suffix-of-pads", ((SUFFIX, SUFFIX.replace("text[length:] for text, length in zip(texts, cut, strict=True)",
                                                      "row[length:] for row, length in zip(ids, cut, strict=True)")),),
           "the cut counts padding, which is then to be said", caught_by="what_is_said"),
    Mutant("labels-in-place", (("    return prefix, " + LABELS,
                                "    place = torch.arange(max(len(t) for t in texts))\n"
                                "    whole = pad_sequence(texts, batch_first=True, padding_value=IGNORE)\n"
                                "    return prefix, whole.masked_fill(place < torch.tensor(cut)[:, None], IGNORE)"),),
           "labels stay where they stood in the text, with IGNORE for the prefix: the decoder would have to read it too",
           caught_by="what_is_said"),
    Mutant("not-refused", (("if length >= len(text):", "if length > len(text):"),),
           "a text of which nothing is left to be said is accepted", caught_by="nothing_to_say"),
    Mutant("beyond-the-end", (("if length >= len(text):", "if length == len(text):"),),
           "a cut that lies beyond the text is accepted", caught_by="nothing_to_say"),
    Mutant("pads-fill-up", (("if length >= len(text):", "if length >= ids.shape[1]:"),),
           "a cut is compared with the length of the batch, padding included", caught_by="nothing_to_say"),
    Mutant("queries-behind", ((JOINED, "return torch.cat([words, soft], 1), mask"),),
           "the queries stand behind the prefix", caught_by="into_the_encoder"),
    Mutant("queries-hidden", ((MASK, MASK.replace("value=True", "value=False")),),
           "the mask hides the queries: the model is blind", caught_by="into_the_encoder"),
    Mutant("mask-of-the-prefix", ((MASK, "mask = F.pad(prefix != PAD, (0, soft.shape[1]), value=True)"),),
           "the mask's columns for the queries stand behind those of the prefix", caught_by="into_the_encoder"),
    Mutant("pads-seen", ((MASK, "mask = torch.ones(len(prefix), soft.shape[1] + prefix.shape[1], dtype=torch.bool)"),),
           "the encoder sees padding", caught_by="into_the_encoder"),
    Mutant("prompt-cut-off", ((JOINED, "return torch.cat([soft.detach(), words], 1), mask"),),
           "the soft prompt is detached: the language model's loss trains nothing", caught_by="into_the_encoder"),
    Mutant("added", ((JOINED, "return torch.cat([soft, words + soft.mean(1, keepdim=True)], 1), mask"),),
           "the queries are added to the words too", caught_by="into_the_encoder"),
    Mutant("reads-what-it-says", ((READ, "return said"),),
           "the decoder reads the word that it is asked for: nothing was shifted", caught_by="into_the_decoder"),
    Mutant("start-over-the-first", ((READ, "return F.pad(said[:, 1:], (1, 0), value=start)"),),
           "the start token takes the place of the first word: all others stand where they are asked for",
           caught_by="into_the_decoder"),
    Mutant("one-longer", ((READ, "return F.pad(said, (1, 0), value=start)"),),
           "the last label is read too: one place more than there are labels", caught_by="into_the_decoder"),
    Mutant("no-start", ((READ, "return F.pad(said[:, :-1], (1, 0), value=PAD)"),),
           "PAD is taken for the start token, whatever that is", caught_by="into_the_decoder"),
    Mutant("shifted-left", ((READ, "return F.pad(said[:, 1:], (0, 1), value=start)"),),
           "labels are moved to the left: the decoder reads the word after the one it is asked for",
           caught_by="into_the_decoder"),
    Mutant("ignore-read", ((SAID, "said = labels"),),
           "IGNORE is read as if it were a token", caught_by="into_the_decoder"),
    Mutant("shifted-again", ((LOSS, LOSS.replace("logits.flatten", "logits[:, :-1].flatten").replace("labels.flatten()", "labels[:, 1:].flatten()")),),
           "the loss shifts once more, as for a decoder alone: what is read was shifted already", caught_by="the_loss"),
    Mutant("loss-cut-off", ((LOSS, LOSS + ".detach()"),),
           "the loss is detached: it can be printed, and teaches nothing", caught_by="the_loss"),
    Mutant("text-by-text", ((LOSS, "each = F.cross_entropy(logits.transpose(1, 2), labels, ignore_index=IGNORE, reduction=\"none\")\n"
                             "    return (each.sum(1) / (labels != IGNORE).sum(1)).mean()"),),
           "the mean is taken text by text first: a word of a short suffix weighs more", caught_by="the_loss"),
    Mutant("all-places", ((LOSS, LOSS.replace("ignore_index=IGNORE", 'ignore_index=IGNORE, reduction="sum"') + " / labels.numel()"),),
           "the sum is divided by all places, padding included", caught_by="the_loss"),
    Mutant("summed", ((LOSS, LOSS.replace("ignore_index=IGNORE", 'ignore_index=IGNORE, reduction="sum"')),),
           "the loss is the sum and not the mean", caught_by="the_loss"),
]  # fmt: skip
