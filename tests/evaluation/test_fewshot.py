"""The harness, tried with models whose ability is known."""

import json

import pytest
import torch
from tiny import tiny_frozen, tiny_lm

from minilmm.evaluation.fewshot import Request, evaluate
from minilmm.evaluation.prompts import CONDITIONS, prompts, shuffle_across
from minilmm.evaluation.tasks import TASKS, Settings, ambiguous
from minilmm.world.grammar import ABSENT
from minilmm.world.questions import ANSWERS, KINDS
from minilmm.world.scenes import Scenes
from minilmm.world.stories import Stories
from minilmm.world.vocabulary import TEST_NAMES, held_out, ids, tokenizer

T = tokenizer()


class PixelNeighbour:
    """Says the word that followed the demonstration whose picture is nearest in pixels."""

    sees = True

    def score(self, batch, continuations, mask):
        scores = torch.zeros(continuations.shape[:2])
        for b in range(len(batch)):
            places = (batch.ids[b] == 3).nonzero()[:, 0]
            pictures = batch.media[b, : len(places), 0].flatten(1)
            if len(places) > 1:
                nearest = (pictures[:-1] - pictures[-1]).square().sum(1).argmin()
                said = batch.ids[b, places[nearest] + 1]
                scores[b] = (continuations[b, :, 0] == said).float()
            else:
                scores[b] = torch.rand(continuations.shape[1])
        return scores


def drawn(task, **settings):
    settings = Settings(**settings)
    return TASKS[task].sample(60, torch.Generator().manual_seed(5), settings), settings


def test_a_model_that_only_compares_pixels_needs_the_pictures():
    """Copies of the query's very picture would make it perfect: it is far from that, so support and query differ."""
    torch.manual_seed(0)  # it guesses where no demonstration has a picture
    result = evaluate(PixelNeighbour(), "naming", Request((4,), episodes=200))
    score = {row["condition"]: row for row in result["rows"]}
    assert 0.55 < score["real"]["value"] < 0.999
    for control in CONDITIONS[1:]:
        assert score[control]["low"] <= 0.5 <= score[control]["high"], control


def test_eval_object_is_the_protocols():
    result = evaluate(tiny_lm(), "noisy-naming", Request((0, 1), episodes=30, conditions=("real", "blank_images")))
    assert json.loads(json.dumps(result)) == result
    assert result["chance"] == 0.5 and result["prior"] == 0.5 and len(result["rows"]) == 4
    assert result["settings"].keys() >= {
        "ways",
        "repeats",
        "induction",
        "names",
        "scoring",
        "split",
        "seed",
        "episodes",
    }
    row = result["rows"][0]
    assert (
        row.keys() >= {"shots", "condition", "metric", "value", "low", "high", "ideal"}
        and row["low"] <= row["value"] <= row["high"]
    )
    again = evaluate(tiny_lm(), "noisy-naming", Request((0, 1), episodes=30, conditions=("real", "blank_images")))
    assert again["rows"] == result["rows"]


def test_scores_do_not_depend_on_the_chunk(monkeypatch):
    whole = evaluate(tiny_lm(), "naming", Request((1,), episodes=100, conditions=("real",)))
    monkeypatch.setattr("minilmm.evaluation.scoring.BUDGET", 200)
    assert evaluate(tiny_lm(), "naming", Request((1,), episodes=100, conditions=("real",)))["rows"] == whole["rows"]


@pytest.mark.parametrize("task", [name for name in TASKS if name != "easy-vqa"])
@pytest.mark.parametrize("shots", [0, 2])
def test_every_task_makes_sound_episodes(task, shots):
    episodes, _ = drawn(task, shots=shots)
    B, m = episodes.source.shape
    assert B == 60 and m == (2 * shots if TASKS[task].per_class else shots) + 1
    rows = torch.arange(B)
    here = episodes.candidates[..., 0] != ABSENT
    assert here[rows, episodes.target].all()
    right = episodes.candidates[rows, episodes.target]
    assert torch.equal(right, episodes.answers)
    length = (right != ABSENT).sum(1)
    assert (right[rows, length - 1] == 4).all()  # every answer ends
    for b in range(B):
        words = episodes.candidates[b, here[b]].tolist()
        assert len({tuple(w) for w in words}) == len(words)
    media = episodes.paint(torch.Generator().manual_seed(0), 48)
    frames = 9 if isinstance(episodes.pictures, Stories) else 1
    assert media.shape == (B, m, frames, 3, 48, 48) and float(media.min()) >= 0 and float(media.max()) <= 1
    query = media[:, -1:].flatten(2)
    assert shots == 0 or ((media[:, :-1].flatten(2) - query).abs().amax(-1) > 0.1).all()  # never the same picture
    scenes = getattr(episodes.pictures, "scenes", episodes.pictures)
    if isinstance(scenes, Scenes) and not TASKS[task].mixed:
        assert held_out(scenes.colour, scenes.shape)[scenes.present].all()
    if (TASKS[task].per_class and task != "fast-vqa") or task in ("classification", "actions"):
        assert torch.isin(episodes.candidates[..., 0], ids(*TEST_NAMES)).all()


def test_training_split_shares_nothing_with_the_held_out_one():
    for task in ("naming", "noisy-naming", "vqa", "fast-vqa", "induction-vqa"):
        episodes, _ = drawn(task, shots=1, split="train")
        scenes = episodes.pictures
        assert not held_out(scenes.colour, scenes.shape)[scenes.present].any()
        assert not torch.isin(episodes.texts, ids(*TEST_NAMES)).any()


def test_naming_prompts_read_as_the_protocol_says():
    episodes, _ = drawn("naming", shots=1, induction=True)
    media = episodes.paint(torch.Generator().manual_seed(0), 48)
    line = T.decode(prompts(episodes, media, "real", torch.Generator()).ids[0].tolist())
    a, b = (T.words[i] for i in episodes.candidates[0, :, 0].tolist())
    assert line in {
        f"<bos> answer with {p} or {q} . <image> {r} . <EOC> <image> {s} . <EOC> <image>"
        for p, q in ((a, b), (b, a)) for r, s in ((a, b), (b, a))
    }  # fmt: skip
    bare = prompts(episodes, media, "text_only", torch.Generator())
    assert (bare.ids == 3).sum(1).eq(1).all() and torch.equal(bare.media[:, 0], media[:, -1])
    told = T.decode(prompts(episodes, None, "real", torch.Generator()).ids[0].tolist())
    assert "<image>" not in told and told.startswith("<bos> answer with")


def test_repeats_are_exact_copies_and_inner_shots_are_not():
    copies, _ = drawn("naming", shots=1, repeats=2)
    assert copies.source.shape[1] == 7 and all(len(set(row[:-1])) == 2 for row in copies.source.tolist())
    distinct, _ = drawn("naming", shots=3)
    assert all(len(set(row)) == 7 for row in distinct.source.tolist())


def test_real_names_are_the_true_words():
    episodes, _ = drawn("naming", shots=1, names="real")
    scenes, query = episodes.pictures, episodes.source[:, -1]
    said = [T.decode(row) for row in episodes.answers[:, :2].tolist()]
    from minilmm.world.vocabulary import COLOURS, SHAPES

    assert said == [f"{COLOURS[scenes.colour[q, 0]]} {SHAPES[scenes.shape[q, 0]]}" for q in query]


def test_noisy_naming_flips_a_fifth():
    episodes, _ = drawn("noisy-naming", shots=8)
    clean, _ = drawn("ambiguous-naming", shots=8)

    def agreement(e):
        """How well the best attribute, either way round, explains the demonstrations."""
        bits = torch.stack([getattr(e.pictures, a)[:, 0] for a in ("colour", "shape", "texture")], -1)[e.source]
        bits = (bits != bits[:, :1]).long()[:, :-1]
        labels = (e.texts[:, :-1, :1] == e.candidates[:, 1, None, :1]).long()
        same = (bits == labels).float().mean(1)
        return torch.cat([same, 1 - same], -1).amax(-1)

    assert (agreement(clean) == 1).all()
    assert 0.75 < agreement(episodes).mean() < 0.87


def test_ideal_observers_are_those_computed_independently():
    """.815/.940/.996/1/1 and .688/.772/.858/.946/.992 at 1/2/4/8/16 shots, by simulation elsewhere."""
    for flips, expected in ((0.0, (0.815, 0.940, 0.996, 1.0, 1.0)), (0.2, (0.688, 0.772, 0.858, 0.946, 0.992))):
        for shots, value in zip((1, 2, 4, 8, 16), expected, strict=True):
            assert abs(ambiguous.ideal(shots, flips) - value) < 0.012, (shots, flips)
    assert TASKS["ambiguous-naming"].ideal(0) == pytest.approx(0.5, abs=0.01)
    assert TASKS["noisy-naming"].ideal(4) == ambiguous.ideal(4, 0.2)
    assert TASKS["induction-vqa"].ideal(0) == 0.25


def test_posterior_by_hand():
    """One clean example "1 1 0 is called 1": all three attributes may decide; two of them vote for 1."""
    one = ambiguous.posterior(torch.tensor([[[1, 1, 0]]]), torch.tensor([[1]]), torch.tensor([[1, 1, 1]]), 0.0)
    assert one.item() == pytest.approx(2 / 3)


def test_shuffling_leaves_no_picture_at_home(generator):
    pictures = torch.arange(40).view(10, 4, 1).expand(-1, -1, 3)
    moved = shuffle_across(pictures, generator)
    assert ((moved // 4) != (pictures // 4)).all()
    assert sorted(moved[..., 0].flatten().tolist()) == list(range(40))


def test_priors_and_chance():
    lm = tiny_lm()
    five = evaluate(lm, "naming", Request((1,), Settings(ways=5), 20, ("real",)))
    assert five["chance"] == pytest.approx(0.2) and five["prior"] == pytest.approx(0.2)
    vqa = evaluate(lm, "vqa", Request((0,), episodes=20, conditions=("real",)))
    two = {"size", "count", "exists", "relation", "compare"}  # whose answers have two words each
    unsaid = sum(1 / len(ANSWERS[kind]) / (1 + (kind in two)) for kind in KINDS) / len(KINDS)
    assert vqa["chance"] == 0.0 and unsaid < vqa["prior"] < unsaid + 0.12
    given = evaluate(lm, "vqa", Request((0,), Settings(convention="given"), 20, ("real",)))
    assert given["prior"] > vqa["prior"] + 0.1 and given["settings"]["convention"] == "given"


def test_bad_settings_are_refused():
    lm, frozen = tiny_lm(), tiny_frozen()
    for arguments, words in (
        ({"task": "nonsense"}, "unknown task"),
        ({"task": "naming", "shots": (-1,)}, "shots"),
        ({"task": "naming", "episodes": 0}, "episodes"),
        ({"task": "naming", "settings": Settings(ways=25)}, "ways"),
        ({"task": "noisy-naming", "settings": Settings(ways=3)}, "2 ways"),
        ({"task": "naming", "settings": Settings(split="test")}, "unknown split"),
        ({"task": "naming", "conditions": ("real", "dark")}, "unknown condition"),
        ({"task": "naming", "scoring": "magic"}, "unknown scoring"),
    ):
        task, arguments = arguments.pop("task"), {"shots": (1,), "episodes": 2} | arguments
        for model in (lm, frozen):
            with pytest.raises(ValueError, match=words):
                evaluate(model, task, Request(**arguments))
