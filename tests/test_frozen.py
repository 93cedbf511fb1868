"""Frozen: the splice, the freeze, the cache, and what the remedy does."""

import hashlib

import pytest
import torch
from tiny import assert_near, tiny_frozen, tiny_lm

from minilmm.data.named import batched
from minilmm.data.world import captions
from minilmm.frozen import Frozen
from minilmm.interface.document import Batch, Image, Text, Video, collate, left_padded
from minilmm.training.job import loss_of
from minilmm.world.vocabulary import tokenizer

T = tokenizer()


def documents(rows):
    """Documents from strings in which "#" stands for a random picture."""
    out = []
    for row in rows:
        document = []
        for part in row.split():
            document.append(Image(torch.rand(3, 48, 48)) if part == "#" else Text(part))
        out.append(document)
    return collate(out, T)


def digests(module):
    return {n: hashlib.sha256(p.detach().numpy().tobytes()).hexdigest() for n, p in module.named_parameters()}


@pytest.mark.parametrize("n", [1, 2, 4])
def test_splice_puts_prefixes_where_the_tags_stand(n):
    model = tiny_frozen(n)
    batch = documents(["# dax . # blicket", "red # circle", "no image shows"])
    x, mask, last = model.splice(batch)
    assert x.shape[1] == batch.ids.shape[1] + 2 * (n - 1)
    prefixes = model.prefix(batch.media[batch.media_mask][:, 0])  # 3 pictures, row by row
    seen = 0
    for b in range(3):
        row = []
        for token in batch.ids[b][batch.attention_mask[b]].tolist():
            if token == 3:
                row += list(prefixes[seen])
                seen += 1
            else:
                row.append(model.lm.embed_tokens.weight[token])
        assert_near(x[b][mask[b]], torch.stack(row))
        states = x[b].gather(0, last[b][:, None].expand(-1, x.shape[-1]))
        for column, token in enumerate(batch.ids[b].tolist()):
            if token not in (0, 3):
                assert_near(states[column], model.lm.embed_tokens.weight[token])


def test_rows_do_not_depend_on_their_neighbours():
    model = tiny_frozen()
    together = documents(["# dax . # blicket . #", "red # circle"])
    alone = Batch.of(together.ids[1:, :4], together.media[1:, :1])
    assert_near(model(together)[1, :4], model(alone)[0])


def test_a_document_without_pictures_is_the_language_model():
    model = tiny_frozen()
    batch = documents(["a red circle ."])
    assert torch.equal(model(batch), model.lm(batch))


def test_cached_scores_equal_uncached():
    model = tiny_frozen()
    batch = documents(["# dax . # blicket . #", "# dax . #"])
    options = torch.randint(5, 100, (2, 3, 3))
    mask = torch.ones_like(options, dtype=torch.bool)
    scores = model.score(batch, options, mask)
    for b in range(2):
        for c in range(3):
            length = int(batch.attention_mask[b].sum())
            ids = torch.cat([batch.ids[b, :length], options[b, c]])[None]
            logits = model(Batch.of(ids, batch.media[b : b + 1, : int(batch.media_mask[b].sum())])).log_softmax(-1)
            expected = sum(logits[0, length - 1 + i, t] for i, t in enumerate(options[b, c]))
            assert_near(scores[b, c], expected, 1e-4)


def test_prefill_reads_left_padded_prompts():
    model = tiny_frozen()
    batch = documents(["# dax . # blicket . #", "# dax . #"])
    first, _ = model.prefill(left_padded(batch))
    for b in range(2):
        length = int(batch.attention_mask[b].sum())
        assert_near(first[b], model(batch)[b, length - 1])


def test_only_the_vision_side_changes(generator):
    """The freeze, proved by hashes and by `grad is None`; the gradient passes through the LM all the same."""
    model = tiny_frozen()
    model.lm.requires_grad_(False)
    before = digests(model.lm)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-2)
    eyes = digests(model.encoder) | digests(model.to_prefix)
    for _ in range(2):
        loss_of(model.train(), captions(6, generator, 48)).backward()
        assert all(p.grad is None for p in model.lm.parameters())
        assert model.to_prefix.weight.grad.abs().sum() > 0
        optimizer.step()
    assert digests(model.lm) == before
    after = digests(model.encoder) | digests(model.to_prefix)
    assert sum(after[k] != eyes[k] for k in eyes) > 0.9 * len(eyes)


def test_kept_prefix_lives_where_words_live():
    kept, free = tiny_frozen(kept=True), tiny_frozen(kept=False)
    images = torch.rand(5, 3, 48, 48)
    rms = kept.lm.embed_tokens.weight.square().mean().sqrt()
    assert_near(kept.prefix(images).square().mean(-1).sqrt(), rms.expand(5, 2), 1e-3)
    assert torch.equal(kept.prefix(images), kept.prefix(images))  # noise is for training alone
    assert not torch.equal(kept.train().prefix(images), kept.prefix(images))
    assert not torch.allclose(free.prefix(images).square().mean(-1).sqrt(), rms.expand(5, 2), rtol=0.05)


def test_a_video_is_the_mean_of_its_frames():
    model = tiny_frozen(kept=False)
    frames = torch.rand(4, 3, 48, 48)
    x, _, _ = model.splice(collate([[Video(frames), Text("dax")]], T))
    assert_near(x[0, 1:3], model.prefix(frames).mean(0))


def test_refuses_tags_without_pictures_and_batches_without_labels(generator):
    model = tiny_frozen()
    batch = documents(["# dax"])
    wrong = Batch(batch.ids, batch.attention_mask, batch.loss_mask, batch.media, torch.zeros(1, 1, dtype=torch.bool))
    with pytest.raises(ValueError, match="give each tag its picture"):
        model(wrong)
    with pytest.raises(ValueError, match="every label"):
        batched([[Text("dax", learn=False)]], None, tokenizer(), torch.device("cpu"))


def test_overfits_one_batch(generator):
    """With the LM trained as well, four captions are learnt by heart: nothing between pixels and logits is cut."""
    model = tiny_frozen(kept=False)
    batch = captions(4, generator, 48)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(60):
        loss = loss_of(model, batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[0] > 5 and losses[-1] < 0.3


def test_shares_the_lm_given():
    lm = tiny_lm()
    assert Frozen(tiny_frozen().config, lm).lm is lm
