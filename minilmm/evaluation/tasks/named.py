"""Tasks over pictures with names, for real language models: bind made-up names, and say real ones."""

from __future__ import annotations

from collections.abc import Callable

import torch

from minilmm.data.named import Form, Named, alike, shown, unlike
from minilmm.evaluation.tasks import Settings
from minilmm.evaluation.tasks.episodes import Episodes, concatenate, table
from minilmm.evaluation.tasks.naming import lay_out
from minilmm.interface.tokenizer import Tokenizer
from minilmm.world.exemplars import arrange
from minilmm.world.scenes import choices, integers
from minilmm.world.vocabulary import TEST_NAMES, TRAIN_NAMES

Sample = Callable[[int, torch.Generator, Settings], Episodes]


def naming(data: Named, tokenizer: Tokenizer, form: Form | None = None) -> Sample:
    """Few-shot naming (Frozen, section 4.2): `ways` things, `shots` pictures of each with its name, and one without.

    The query is drawn by another vendor than all that is shown, where there are several. Names are nonsense, of the
    split's own list, or real. No two things of an episode have names that read alike.
    ValueError where a split has fewer such things or names than ways.
    """
    return _sampler(data, tokenizer, form or Form(), captions=False)


def captions(data: Named, tokenizer: Tokenizer, form: Form | None = None) -> Sample:
    """`shots` pictures of other things with their real names, and one of a thing that was not shown: what is it?"""
    return _sampler(data, tokenizer, form or Form(), captions=True)


def _sampler(data: Named, tokenizer: Tokenizer, form: Form, captions: bool) -> Sample:
    made = {"train": TRAIN_NAMES, "held-out": TEST_NAMES}
    real = table([f" {name}" for name in data.names], tokenizer)
    nonsense = {split: table([f" {name}" for name in names], tokenizer) for split, names in made.items()}
    groups = {split: alike([data.names[i] for i in data.rows(split)]) for split in made}
    parts = (form.before, form.after, form.end, "Answer with", " or", form.end)
    stop = torch.tensor(tokenizer.encode("."))

    def sample(batch: int, generator: torch.Generator, settings: Settings) -> Episodes:
        device, K, pool = generator.device, settings.shots, data.rows(settings.split)
        W = K + 1 if captions else settings.ways
        names, group = nonsense[settings.split], groups[settings.split].to(device)
        different = int(group.max()) + 1
        if different < W or (len(names) < W and not captions):
            counts = f"{different} things that are named differently and {len(names)} made-up names"
            raise ValueError(f"{W} ways: the {settings.split} split has only {counts}: choose fewer ways")
        things = pool.to(device)[unlike(group, W, batch, generator)]  # (B, W)
        said = real.to(device)[things]  # (B, W, A)
        if settings.names != "real" and not captions:
            said = names.to(device)[choices(len(names), W, (batch,), generator)]
        order, owner = arrange(batch, settings.ways, K, generator, settings.repeats)
        if captions:  # each thing once, the last one is asked about
            order, owner = (torch.arange(n, device=device).expand(batch, n) for n in (K, W))
        V, M = len(data.vendors), owner.shape[1]
        asked = integers(V, (batch, 1), generator)
        turn = torch.arange(M - 1, device=device) % max(1, K) % max(1, V - 1)  # the k-th picture of a thing
        vendor = torch.cat([(asked + (V > 1) + turn) % V, asked], 1)  # (B, M)
        row = things.gather(1, owner)
        assert bool((data.held_out[row.cpu()] == (settings.split == "held-out")).all()), "a thing of another split"
        assert V == 1 or not bool((vendor[:, :-1] == asked).any()), "a demonstration by the query's vendor"
        pictures = shown(data, vendor, row, generator).flatten(0, 1)[:, None]
        descriptions = concatenate(real.to(device)[row], stop)
        listed = said if settings.induction and not captions else None
        return lay_out(pictures, descriptions, order, owner, said, parts, tokenizer, listed)

    return sample
