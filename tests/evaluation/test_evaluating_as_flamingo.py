"""Evaluations as Flamingo does them: beams, orders, RICES, texts at zero shots, captions."""

from dataclasses import replace

import pytest
import torch
from tiny import assert_near, tiny_frozen, tiny_lm

from minilmm.evaluation import rices
from minilmm.evaluation.captions import cider, facts, scene_f1
from minilmm.evaluation.fewshot import Request, evaluate
from minilmm.evaluation.prompts import prompts, reorder
from minilmm.evaluation.scoring import log_probabilities
from minilmm.evaluation.tasks import TASKS, Settings
from minilmm.interface.document import Batch
from minilmm.world.grammar import ABSENT, caption
from minilmm.world.scenes import sample_scenes
from minilmm.world.vocabulary import tokenizer

QUICK = {"episodes": 4, "conditions": ("real",)}


def plain(phrase):
    """The words of each row, without marks."""
    return [tokenizer().decode([i for i in row if i > 4]) for row in phrase.tolist()]


def test_one_beam_is_greedy_and_all_beams_find_the_best():
    lm = tiny_lm(smear=0)
    prompt = Batch.of(torch.tensor([[1, 9, 8], [1, 7, 0]]))
    logits, _ = lm.prefill(Batch.of(torch.tensor([[1, 9, 8]])))
    assert lm.generate(prompt, 3, 4)[0, 0] == logits.argmax()
    V = logits.shape[1]
    found = lm.generate(prompt, 2, 4, beams=V)  # keeps every first word, so the search is exhaustive
    for row, ids in enumerate(([1, 9, 8], [1, 7])):
        words = torch.cartesian_prod(torch.arange(V), torch.arange(V))[None]  # (1, V^2, 2)
        ended = words[..., 0] == 4
        real = torch.stack([torch.ones_like(ended), ~ended], -1)
        total = lm.score(Batch.of(torch.tensor([ids])), words, real).masked_fill(ended & (words[..., 1] > 0), -1e9)
        assert found[row].tolist() == (words[0, total.argmax()] * real[0, total.argmax()]).tolist()
    with pytest.raises(ValueError, match="beams is 0"):
        lm.generate(prompt, 2, 4, beams=0)


def test_the_most_similar_example_comes_last():
    pool = torch.nn.functional.normalize(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [-1.0, 0.0]]), dim=-1)
    assert rices.nearest(torch.tensor([[1.0, 0.1]]), pool, 3).tolist() == [[1, 2, 0]]
    with pytest.raises(ValueError, match="pool of 4"):
        rices.nearest(pool, pool, 5)


def test_rices_prompts_hold_whole_examples_of_the_pool():
    generator, task = torch.Generator().manual_seed(0), TASKS["vqa"]
    pool, asked = (task.sample(n, generator, Settings(shots=0)) for n in (6, 2))
    pixels = torch.rand(8, 1, 3, 48, 48)
    drawn = rices.demonstrate(asked, pool, torch.tensor([[4, 1], [0, 5]]), pixels)
    batch = prompts(drawn, drawn.paint(generator, 48), "real", generator)
    lines = [tokenizer().decode(row).strip() for row in batch.ids.tolist()]
    for row, (line, chosen) in enumerate(zip(lines, ([4, 1], [0, 5]), strict=True)):
        examples = line.removeprefix("<bos> ").split(" <EOC> ")
        for text, i in zip(examples[:2], chosen, strict=True):
            answer = tokenizer().decode([word for word in pool.answers[i].tolist() if word >= 0][:-2])
            assert text.startswith("<image> question :") and text.endswith(f"answer : {answer} .")
        assert examples[2].endswith("answer :")
        assert torch.equal(batch.media[row, :2], pixels[chosen]) and torch.equal(batch.media[row, 2], pixels[6 + row])


def test_zero_shots_with_texts_show_one_picture_only():
    generator = torch.Generator().manual_seed(0)
    drawn = TASKS["vqa"].sample(3, generator, Settings(shots=2))
    batch = prompts(drawn, drawn.paint(generator, 48), "real", generator, texts_only=True)
    assert (batch.ids == 3).sum(1).tolist() == [1, 1, 1] and batch.media.shape[1] == 1
    assert all(tokenizer().decode(row).count("answer :") == 3 for row in batch.ids.tolist())


def test_orders_move_examples_with_their_pictures():
    generator = torch.Generator().manual_seed(0)
    drawn = TASKS["naming"].sample(5, generator, Settings(shots=2))
    media = drawn.paint(generator, 48)
    turned, moved = reorder(drawn, media, generator)
    assert torch.equal(moved[:, -1], media[:, -1]) and torch.equal(turned.source[:, -1], drawn.source[:, -1])
    assert not torch.equal(turned.source, drawn.source)
    where = {int(s): i for i, s in enumerate(drawn.source[0].tolist())}
    for i, s in enumerate(turned.source[0].tolist()):
        assert torch.equal(turned.texts[0, i], drawn.texts[0, where[s]])
        assert torch.equal(moved[0, i], media[0, where[s]])


def test_every_way_of_evaluating_runs_and_is_told():
    model = tiny_frozen()
    for told in ({"beams": 2}, {"rices": True}, {"zero_shot_texts": 2}):
        result = evaluate(model, "vqa", Request((0, 1), **told, **QUICK))
        assert told.items() <= result["settings"].items() and len(result["rows"]) == 2
    averaged = evaluate(model, "naming", Request((1,), orders=3, **QUICK))
    assert averaged["settings"]["orders"] == 3
    for task, how, words in (
        ("naming", {"rices": True}, "no pool"),
        ("vqa", {"orders": 2}, "scoring by rank"),
        ("vqa", {"per_token": True}, "scoring by rank"),
    ):
        with pytest.raises(ValueError, match=words):
            evaluate(model, task, Request((1,), **how, **QUICK))
    told = evaluate(tiny_lm(), "classification", Request((2,), rices=True, **QUICK))  # compares what is described
    assert told["settings"]["rices"] and {row["metric"] for row in told["rows"]} == {"accuracy", "top5"}


def test_per_token_divides_by_each_candidates_length():
    """The end of a name counts, too."""
    generator = torch.Generator().manual_seed(0)
    drawn = TASKS["vqa"].sample(6, generator, Settings(shots=0))
    longer = torch.full((6, 2, 3), ABSENT)
    longer[:, 0, :2], longer[:, 1] = torch.tensor([9, 5]), torch.tensor([9, 8, 5])
    drawn = replace(drawn, candidates=longer, target=torch.zeros(6, dtype=torch.long))
    model, batch = tiny_lm(), prompts(drawn, None, "real", generator)
    with torch.no_grad():
        whole, mean = (log_probabilities(model, batch, drawn, tokenizer(), per) for per in (False, True))
    assert_near(mean * torch.tensor([2, 3]), whole)
    assert (whole < 0).all()


def test_captions_are_read_exactly():
    assert facts("a striped red circle") == {("circle",), ("circle", "striped"), ("circle", "red")}
    assert facts("this is a red circle it is striped") == facts("a striped red circle")
    assert facts("the circle is red and striped and large") == facts("the image shows a large striped red circle")
    assert facts("a plain red circle and a dotted blue star") == {
        ("circle",), ("circle", "plain"), ("circle", "red"), ("star",), ("star", "dotted"), ("star", "blue"),
    }  # fmt: skip
    assert ("circle", "left of", "star") in facts("a red circle is left of a blue star")
    assert ("circle", "top left") in facts("there is a striped red circle at the top left")
    assert scene_f1("a striped red circle", ["a striped red circle"]) == 1.0
    assert scene_f1("a striped red star", ["a striped red circle"]) == 0.0
    assert scene_f1("a striped blue circle", ["a striped red circle"]) == pytest.approx(2 / 3)


def test_every_caption_of_the_grammar_is_true_of_its_scene():
    generator = torch.Generator().manual_seed(3)
    scenes = sample_scenes(40, generator, objects=1)
    told = [
        [
            facts(tokenizer().decode([i for i in row if i >= 0]))
            for row in caption(scenes, generator, register=r).tolist()
        ]
        for r in range(5)
    ]
    full = [set().union(*found) for found in zip(*told, strict=True)]
    assert all(
        len({fact[0] for fact in found}) == 1 and len(found) == 5 for found in full
    )  # one object, four attributes


def test_cider_is_pycocoevalcaps():
    scorer = pytest.importorskip("pycocoevalcap.cider.cider_scorer")
    generator = torch.Generator().manual_seed(1)
    scenes = sample_scenes(12, generator, objects=1 + torch.arange(12) % 2)
    said = [
        [tokenizer().decode([i for i in row if i > 4]) for row in caption(scenes, generator).tolist()] for _ in range(6)
    ]
    references = [list(texts) for texts in zip(*said[:5], strict=True)]
    theirs = scorer.CiderScorer(n=4, sigma=6.0)
    for text, texts in zip(said[5], references, strict=True):
        theirs += (text, texts)
    _, expected = theirs.compute_score()
    assert cider(said[5], references) == pytest.approx(expected.tolist(), abs=1e-6)
    assert max(expected) > 1


def test_cider_by_hand():
    """Two captions without a word in common: each is its own reference's best match, and the other's worst."""
    texts = ["a b c d e", "f g h i j"]
    assert cider(texts, [[t] for t in texts]) == pytest.approx([10.0, 10.0])
    assert cider(texts[::-1], [[t] for t in texts]) == [0.0, 0.0]
    with pytest.raises(ValueError, match="at least one"):
        cider(["a"], [[]])


def test_the_caption_task_scores_captions():
    result = evaluate(tiny_frozen(), "caption", Request((0, 1), **QUICK))
    assert [row["metric"] for row in result["rows"]] == ["cider", "scene_f1", "chair"] * 2
    assert all(0 <= row["value"] <= 10 for row in result["rows"])
    drawn = TASKS["caption"].sample(8, torch.Generator().manual_seed(0), Settings(shots=1))
    assert all(facts(tokenizer().decode([i for i in drawn.answers[b].tolist() if i >= 0])) for b in range(8))
    assert "ideal" not in result["rows"][0] and 5 < result["rows"][3]["ideal"] <= 10  # of a style that is known


def test_a_pool_of_all_classes_has_each_as_often():
    for task, count in (("classification", 144), ("actions", 36)):
        made = rices.Pool(tiny_lm(), TASKS[task], Request(pool=2 * count, rices=True), 16, "cpu")
        assert made.episodes.target.bincount().tolist() == [2] * count
