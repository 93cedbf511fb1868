"""What a score counts: options that read alike, conditions that draw alone, scores that are not finite."""

import gc
import json
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import tiny_frozen

from minilmm.blip2 import Blip2Config, Stage1
from minilmm.data.named import Form, Named, alike, pages, unlike
from minilmm.evaluation import rices
from minilmm.evaluation.captions import cider
from minilmm.evaluation.fewshot import Request, evaluate
from minilmm.evaluation.retrieval import chance, classify, matching_rows, recall_at, retrieval_rows
from minilmm.evaluation.scoring import rank
from minilmm.evaluation.tasks import TASKS, Settings, Task, real_task, task_named
from minilmm.interface.document import Batch
from minilmm.language import CausalLM, LMConfig
from minilmm.nn.qformer import QFormerConfig
from minilmm.vision import VisionConfig
from minilmm.world.random import choices
from minilmm.world.vocabulary import COLOURS, SHAPES, TRAIN_NAMES, tokenizer

WORDS = tokenizer()
CAPTIONS = [f"{colour} {shape}" for colour in COLOURS[:3] for shape in SHAPES[:3]]  # nine, five pictures of each
FORM = Form(before="", after="", end=" . <EOC>")


class Says:
    """A text model that scores by a function of the prompt's ids and one option's ids."""

    sees = False

    def __init__(self, worth):
        self.worth = worth

    def score(self, batch, continuations, mask):
        scores = torch.zeros(continuations.shape[:2])
        for b, prompt in enumerate(batch.ids.tolist()):
            for c, option in enumerate(continuations[b].tolist()):
                scores[b, c] = self.worth([i for i in prompt if i], option)
        return scores


@pytest.fixture
def repeated():
    names = [*CAPTIONS * 5, *CAPTIONS * 5]
    pictures = torch.zeros(1, len(names), 3, 4, 4, dtype=torch.uint8)
    return Named(names, ("photographs",), pictures, torch.arange(len(names)) >= len(names) // 2)


def test_things_that_read_alike_never_stand_together(repeated, generator):
    group = alike(["A cat.", "two dogs", "the cat", "...", "2 dogs", "c#", "c"])
    assert group.tolist() == [0, 1, 0, 2, 1, 3, 4]
    rows = unlike(group, 5, 2000, generator)
    assert all(len(set(group[row].tolist())) == 5 for row in rows)
    assert torch.bincount(rows[:, 0], minlength=7).min() > 100  # any thing may come first
    same = [torch.Generator().manual_seed(3) for _ in range(2)]
    assert torch.equal(unlike(torch.arange(9), 4, 50, same[0]), choices(9, 4, (50,), same[1]))
    episodes = real_task("naming", repeated, WORDS, FORM).sample(300, generator, Settings(ways=5, names="real"))
    assert all(len({tuple(option) for option in row}) == 5 for row in episodes.candidates.tolist())
    with pytest.raises(ValueError, match="9 things that are named differently"):
        real_task("naming", repeated, WORDS, FORM).sample(2, generator, Settings(ways=10))
    batch = pages(repeated, WORDS, FORM, ways=3, shots=1, nonsense=False)(50, generator)
    for row in batch.ids.tolist():
        said = [WORDS.decode(row[i + 1 : i + 3]) for i, word in enumerate(row) if word == WORDS.image_token_id]
        assert len(set(said[:3])) == 3 and not set(said) & set(TRAIN_NAMES)


def test_a_model_that_knows_every_caption_scores_1_and_one_that_knows_none_chance(repeated):
    task, settings = real_task("naming", repeated, WORDS, FORM), Settings(ways=5, names="real")
    knows = Says(lambda prompt, option: float(prompt[-3:-1] == option[:2]))
    for model, low, high in ((knows, 1, 1), (Says(lambda *_: 0.0), 0.12, 0.28)):
        result = evaluate(model, task, Request((0,), settings, 400, ("real",)))
        assert result["chance"] == pytest.approx(0.2) and low <= result["rows"][0]["value"] <= high


def test_options_of_a_task_that_read_alike_are_one_answer(generator):
    drawn = TASKS["naming"].sample(40, generator, Settings(ways=3))
    first = drawn.candidates[:, :1]
    doubled = replace(drawn, candidates=torch.cat([first, first, drawn.candidates[:, 1:]], 1),
                      target=torch.where(drawn.target == 0, 1, drawn.target + 1))  # fmt: skip
    batch = Batch.of(torch.ones(40, 1, dtype=torch.long))
    wanted = dict(enumerate(drawn.answers[:, 0].tolist()))
    model = Says(lambda prompt, option: 0.0)
    model.score = lambda b, c, m: (c[:, :, 0] == torch.tensor(list(wanted.values()))[:, None]).float()
    assert all(rank(model, [(batch, doubled)], WORDS, Request()))
    task = Task("doubled", lambda *_: replace(doubled, group=drawn.group))
    result = evaluate(model, task, Request((1,), episodes=40, conditions=("real",)))
    share = (drawn.target == 0).double().mean().item()
    assert result["chance"] == pytest.approx((1 + share) / 4, abs=1e-4)  # of four options two are right, or one


def test_captions_of_a_folder_are_asked_about_evenly(tmp_path, generator):
    draw = np.random.default_rng(0)
    texts = ["a red circle"] * 20 + ["the red circle"] * 5 + ["a blue star", "a green square"] * 4
    lines = [json.dumps({"file_name": f"{i}.png", "text": text}) for i, text in enumerate(texts)]
    (tmp_path / "metadata.jsonl").write_text("\n".join(lines))
    for i in range(len(texts)):
        Image.fromarray(draw.integers(0, 256, (4, 4, 3), dtype=np.uint8)).save(tmp_path / f"{i}.png")
    episodes = task_named(str(tmp_path)).sample(3000, generator, Settings(ways=2, shots=1, split="train"))
    circle = WORDS.encode("circle")[0]
    has = (episodes.candidates == circle).any(-1)
    assert bool((has.sum(1) <= 1).all())  # "a red circle" and "the red circle" are one
    right = has.gather(1, episodes.target[:, None])[:, 0][has.any(1)]
    assert 0.45 < float(right.float().mean()) < 0.55  # the commonest caption is right half the time
    assert not bool((episodes.source[:, 0] == episodes.source[:, 1]).any())


@pytest.mark.parametrize("orders", [1, 3])
def test_a_condition_draws_the_same_whichever_stand_beside(orders):
    model = Says(lambda prompt, option: float(sum((i + 1) * w for i, w in enumerate(prompt)) * option[0] % 101))

    def values(*conditions):
        request = Request((2,), episodes=60, conditions=conditions, orders=orders)
        return {row["condition"]: row["value"] for row in evaluate(model, "naming", request)["rows"]}

    beside = values("real", "blank_images", "shuffled_images", "text_only")
    assert values("text_only", "shuffled_images", "real") == {k: v for k, v in beside.items() if k != "blank_images"}
    assert all(values(name) == {name: value} for name, value in beside.items())


def test_scores_that_are_not_finite_are_an_error():
    for bad in (float("nan"), float("inf"), float("-inf")):
        with pytest.raises(ValueError, match="not finite"):
            evaluate(Says(lambda *_, bad=bad: bad), "naming", Request((1,), episodes=5))
        with pytest.raises(ValueError, match="not finite"):
            recall_at(torch.full((3, 3), bad), 1)
    with pytest.raises(ValueError, match="not finite"):
        classify(torch.full((2, 4), torch.nan), torch.rand(3, 4))
    lm = CausalLM(LMConfig(20, width=16, layers=1, heads=2, kv_heads=2, hidden=16))
    torch.nn.init.constant_(lm.embed_tokens.weight, torch.nan)
    for beams in (1, 2):
        with pytest.raises(ValueError, match="not finite"):
            lm.generate(Batch.of(torch.tensor([[1, 5]])), 3, 4, beams)


def test_an_answer_ends_at_any_of_several_ends():
    torch.manual_seed(0)
    lm = CausalLM(LMConfig(20, width=16, layers=1, heads=2, kv_heads=2, hidden=16))
    torch.nn.init.normal_(lm.embed_tokens.weight)
    batch = Batch.of(torch.tensor([[1, 5], [1, 6]]))
    free = lm.generate(batch, 8, 99)
    ends = (99, int(free[0, 2]), int(free[1, 4]))
    for row, said in zip(free.tolist(), lm.generate(batch, 8, ends).tolist(), strict=True):
        until = next(i for i, word in enumerate(row) if word in ends) + 1
        assert said == row[:until] + [0] * (8 - until)


def test_chance_of_retrieval_counts_right_and_wrong_ones():
    torch.manual_seed(0)
    eyes = VisionConfig(resolution=16, stem=8, widths=(8, 16), blocks=(1, 1))
    qformer = QFormerConfig(16, 50, width=16, layers=2, heads=2, hidden=16, queries=2, embed=8, context=8)
    model = Stage1(Blip2Config(qformer, eyes)).eval()
    two = torch.block_diag(torch.ones(2, 2), torch.ones(2, 2)).bool()
    text = torch.tensor([[1, 5], [1, 5], [1, 7], [1, 7]])
    rows = matching_rows(model, model.see(torch.rand(4, 3, 16, 16)), text, two, candidates=0)
    assert [row["chance"] for row in rows] == pytest.approx([0.5, 1, 1] * 2)
    draws = torch.rand(20_000, 6).argsort(1)[:, :2]  # of six the first two are right; three are looked at
    assert chance(torch.tensor([[True, True, False, False, False, False]]), 3) == pytest.approx(0.8)
    assert float((draws < 3).any(1).float().mean()) == pytest.approx(0.8, abs=0.01)
    five = retrieval_rows(torch.randn(3, 8), torch.randn(15, 8), ks=(1, 20), groups=torch.arange(15) % 3)
    assert [row.chance for row in five] == pytest.approx([1 / 3, 1, 1 / 3, 1])


def test_one_caption_has_no_cider():
    with pytest.raises(ValueError, match="a single caption has no score"):
        cider(["a red circle"], [["a red circle"]])


@pytest.mark.parametrize(("ids", "count"), [([1, 3, 7], 2), ([1, 7, 8], 1), ([1, 3, 3], 1)])
def test_every_tag_has_its_picture_and_every_picture_its_tag(ids, count):
    with pytest.raises(ValueError, match="give each tag its picture"):
        Batch.of(torch.tensor([ids]), torch.rand(1, count, 1, 3, 4, 4))


def test_only_the_episodes_asked_for_are_scored_in_every_order():
    model, scored = Says(lambda *_: 0.0), []
    plain = model.score
    model.score = lambda batch, continuations, mask: scored.append(len(batch)) or plain(batch, continuations, mask)
    evaluate(model, "naming", Request((1,), episodes=7, conditions=("real",), orders=3))
    assert sum(scored) == 7 * 3


def test_a_pool_is_made_once_for_all_numbers_of_shots(monkeypatch):
    made = []
    whole = rices.Pool.__init__
    monkeypatch.setattr(rices.Pool, "__init__", lambda pool, *given: made.append(pool) or whole(pool, *given))
    evaluate(tiny_frozen(), "vqa", Request((0, 1, 2), episodes=3, conditions=("real",), rices=True))
    assert len(made) == 1


def test_an_evaluation_keeps_no_folder_in_memory(tmp_path):
    for i, text in enumerate(["a red circle", "a blue star", "a green square"] * 5):
        Image.new("RGB", (4, 4), (16 * i, 0, 0)).save(tmp_path / f"{i}.png")
        with (tmp_path / "metadata.jsonl").open("a") as lines:
            lines.write(json.dumps({"file_name": f"{i}.png", "text": text}) + "\n")
    task = task_named(str(tmp_path))
    assert evaluate(tiny_frozen(), task, Request((1,), episodes=3))["prior"] == 0.5
    kept = weakref.ref(task.sample)
    del task
    gc.collect()
    assert kept() is None
