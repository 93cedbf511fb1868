"""The loop, checkpoints and recipes: resumable bit for bit, honest about damage."""

import json
import signal
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from minilmm_cli import runs as commands
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from minilmm.checkpoints import saving as checkpoint
from minilmm.checkpoints.opening import load
from minilmm.checkpoints.saving import CheckpointError
from minilmm.language import LMConfig
from minilmm.training import blip2, flamingo, frozen, job, lm, loop, t5, vision
from minilmm.training.job import Job
from minilmm.training.loop import train
from minilmm.training.prepare import prepare
from minilmm.training.recipes import FlamingoRecipe, FrozenRecipe, LMRecipe, Optimisation, VisionRecipe
from minilmm.vision import VisionConfig
from minilmm.world.corpus import MIXTURE
from minilmm.world.vocabulary import tokenizer

EYES = VisionConfig(stem=8, widths=(8, 16), blocks=(1, 1))
TINY = LMRecipe(
    LMConfig(len(tokenizer()), 16, 1, 2, 2, 32, smear=2),
    Optimisation(4, 1e-2, 1),
    first=2,
    lengths=(16, 24, 32),
    tokens=128,
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A tiny LM and a tiny pair of eyes, trained for a few steps."""
    folder = tmp_path_factory.mktemp("runs")
    for name in ("lm", "eyes"):
        (folder / name).mkdir()
    train(prepare(TINY), folder / "lm", probe_every=100)
    train(prepare(VisionRecipe(EYES, Optimisation(2, 1e-3), batch=8)), folder / "eyes")
    return folder


def frozen_recipe(runs, **changes):
    return FrozenRecipe(
        Optimisation(4, 1e-2, 1), lm=str(runs / "lm"), vision=str(runs / "eyes"), batch=4, encoder=EYES, **changes
    )


def state_of(model):
    return {k: v.clone() for k, v in model.state_dict().items()}


class Killed(BaseException):
    """As sudden as a power cut."""


def test_a_killed_run_resumes_to_the_same_weights_bit_for_bit(runs, tmp_path, monkeypatch):
    recipe = frozen_recipe(runs)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    broken.mkdir()
    expected = state_of(train(prepare(recipe), whole, probe_every=100))
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)
    original = job.loss_of
    calls = []

    def dies(model, batch):
        calls.append(1)
        if len(calls) == 3:
            raise Killed
        return original(model, batch)

    monkeypatch.setattr(job, "loss_of", dies)
    with pytest.raises(Killed):
        train(prepare(recipe), broken, probe_every=100)
    monkeypatch.setattr(job, "loss_of", original)
    torch.manual_seed(123)  # the state of torch's own generator must not matter
    resumed = state_of(train(prepare(recipe), broken, resume=True, probe_every=100))
    assert resumed.keys() == expected.keys() and all(torch.equal(resumed[k], expected[k]) for k in expected)
    assert [json.loads(line)["step"] for line in (broken / "log.jsonl").read_text().splitlines()] == [4]


def test_resuming_needs_the_same_recipe_and_a_sound_file(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)
    recipe = frozen_recipe(runs)
    train(prepare(recipe), tmp_path, probe_every=100)
    with pytest.raises(CheckpointError, match="another recipe"):
        train(prepare(replace(recipe, batch=5)), tmp_path, resume=True)
    path = tmp_path / checkpoint.CHECKPOINT
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="delete it"):
        train(prepare(recipe), tmp_path, resume=True)


@pytest.mark.parametrize(
    "variant, eyes", [("frozen", "scratch"), ("finetuned", "start"), ("scratch", "scratch"), ("blind", "kept")]
)
def test_variants_train_what_they_say(runs, tmp_path, variant, eyes):
    recipe = frozen_recipe(runs, variant=variant, eyes=eyes)
    model = train(prepare(recipe), tmp_path, probe_every=100)
    again, _ = frozen.compose(recipe)
    parts = {
        name: any(p.requires_grad for p in getattr(again, name).parameters()) for name in ("lm", "encoder", "to_prefix")
    }
    assert parts == {"lm": variant in ("finetuned", "scratch"), "encoder": eyes != "kept", "to_prefix": True}
    start, _ = load(runs / "lm")
    same = all(torch.equal(a, b) for a, b in zip(model.lm.parameters(), start.parameters(), strict=True))
    assert same == (not parts["lm"])
    kept, _ = load(runs / "eyes")
    same = all(torch.equal(a, b) for a, b in zip(model.encoder.parameters(), kept.vision.parameters(), strict=True))
    assert same == (eyes == "kept")
    loaded, card = load(tmp_path)
    assert all(
        torch.equal(a, b) for a, b in zip(loaded.state_dict().values(), model.state_dict().values(), strict=True)
    )
    assert card["recipe"]["variant"] == variant and card["seed"] == 0 and "sha256" in card


def test_parts_of_the_wrong_kind_are_refused(runs):
    with pytest.raises(CheckpointError, match="no language model"):
        frozen.compose(replace(frozen_recipe(runs), lm=str(runs / "eyes")))
    with pytest.raises(CheckpointError, match="no vision encoder"):
        frozen.compose(replace(frozen_recipe(runs), vision=str(runs / "lm"), eyes="start"))
    with pytest.raises(ValueError, match="variant"):
        frozen.compose(frozen_recipe(runs, variant="thawed"))


def test_loading_says_what_is_wrong(runs, tmp_path):
    with pytest.raises(CheckpointError, match="no such run"):
        load("nothing-here")
    target = tmp_path / "copy"
    target.mkdir()
    for name in ("model.safetensors", "card.json"):
        (target / name).write_bytes((runs / "lm" / name).read_bytes())
    load(target)
    weights = target / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-10])
    with pytest.raises(CheckpointError, match="damaged or replaced"):
        load(target)
    save_file({"something": torch.zeros(3)}, weights)
    card = json.loads((target / "card.json").read_text()) | {"sha256": checkpoint.digest(weights)}
    (target / "card.json").write_text(json.dumps(card))
    with pytest.raises(CheckpointError, match="does not fit its card"):
        load(target)
    weights.unlink()
    with pytest.raises(CheckpointError, match="weights are missing"):
        load(target)
    (target / "card.json").write_text("{")
    with pytest.raises(CheckpointError, match="not a minilmm card"):
        load(target)


def test_the_rate_warms_up_and_falls():
    o = Optimisation(100, 1.0, warmup=10, final=0.1)
    rates = [job.rate(o, step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1, rel=0.01) and max(rates) == max(rates[8:12]) and 0.1 <= rates[-1] < 0.11


def test_only_matrices_decay():
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.LayerNorm(3))
    decays = {
        p.dim(): g["weight_decay"]
        for g in job.adamw(list(model.parameters()), Optimisation(1, 1.0)).param_groups
        for p in g["params"]
    }
    assert decays == {2: 0.05, 1: 0.0}


def toy(model, optimisation, loss, every):
    """A job whose data are the number of the step."""
    recipe = replace(TINY, optimisation=optimisation)
    return Job(recipe, "toy", model, {}, lambda recipe, generator, step: step, loss, probe_every=every)


def test_a_loss_that_is_not_finite_ends_the_run(tmp_path):
    model = torch.nn.Linear(1, 1)
    with pytest.raises(ArithmeticError, match="lower --lr"):
        loop.fit(toy(model, Optimisation(3, 1.0), lambda step: model.weight.sum() * float("nan"), 1), tmp_path)


def test_the_first_phase_reads_lists_and_bindings_only():
    recipe = lm.preset("nano")
    rows, length, without = lm.rows_for(recipe, 0)
    assert length == 64 and rows * length == recipe.tokens // 2 and set(without) == set(MIXTURE) - {"lists", "bindings"}
    later = {lm.rows_for(recipe, step)[1:] for step in range(recipe.first, recipe.optimisation.steps)}
    assert later == {(128, ()), (256, ()), (1024, ())}
    assert recipe.model.context >= 1024


def test_a_second_stage_goes_on_from_a_language_model(tmp_path):
    """With its weights, with other shares of documents, and without the first phase."""
    tiny = replace(TINY, optimisation=Optimisation(2, 1e-2))
    first = loop.train(prepare(tiny), tmp_path / "first", probe_every=0)
    again = replace(tiny, start=str(tmp_path / "first"), stage=2, optimisation=Optimisation(1, 1e-9, warmup=0))
    assert lm.rows_for(again, 0) == (5, 24, ()) != lm.rows_for(tiny, 0)
    drawn, usual = (lm.sample(recipe, torch.Generator().manual_seed(0), 400)[0] for recipe in (again, tiny))
    assert not torch.equal(drawn, usual)
    job = prepare(again)
    assert all(
        torch.equal(a, b) for a, b in zip(job.model.state_dict().values(), first.state_dict().values(), strict=True)
    )
    moved = loop.train(job, tmp_path / "second", probe_every=0)
    assert [path.name for path in sorted((tmp_path / "second" / "stage1").iterdir())] == ["card.json", "log.jsonl"]
    assert any(not torch.equal(a, b) for a, b in zip(moved.parameters(), first.parameters(), strict=True))
    last = replace(again, start=str(tmp_path / "second"), stage=3)
    loop.train(prepare(last), tmp_path / "third", probe_every=0)
    kept = [str(path.relative_to(tmp_path / "third")) for path in sorted((tmp_path / "third").rglob("card.json"))]
    assert kept == ["card.json", "stage1/card.json", "stage1/stage1/card.json"]
    with pytest.raises(CheckpointError, match="is no language model"):
        prepare(replace(tiny, start="vision-nano"))


def test_blank_and_easy_data_are_what_they_say(tmp_path):
    with pytest.raises(ValueError, match="unknown data"):
        frozen.data_named("nothing", 48)
    recipe = FrozenRecipe(Optimisation(1, 1e-3), batch=6)
    [(_, batch)] = frozen.data_named("world", 48)(recipe, torch.Generator().manual_seed(0), 0)
    assert (batch.ids == 3).sum(1).eq(1).all() and batch.media.shape[1:] == (1, 1, 3, 48, 48)


def test_a_last_row_of_few_steps_averages_as_many_as_the_others(tmp_path):
    model = torch.nn.Linear(2, 1)

    def step_as_loss(step):
        return model.weight.sum() * 0 + float(step)

    rows = loop.fit(toy(model, Optimisation(10, 1e-3, 1), step_as_loss, 4), tmp_path)
    assert [(row["step"], row["loss"]) for row in rows] == [(4, 1.5), (8, 5.5), (10, 7.5)]


# --- runs of an earlier version ---------------------------------------------------------------------------------------

EARLIER = json.loads((Path(__file__).parent / "recipes_of_0.1.json").read_text())


def as_saved_earlier(path, recipe):
    """A checkpoint as it was written before recipes had fields for named pictures."""
    with safe_open(path, "pt") as file:
        facts = file.metadata()
    tensors = load_file(path)
    facts = {key: value for key, value in facts.items() if key != "sha256"} | {"recipe": json.dumps(recipe)}
    save_file(tensors, path, facts | {"sha256": checkpoint._digest(tensors, facts)})


def test_a_checkpoint_of_an_earlier_version_is_gone_on_from(runs, tmp_path, monkeypatch):
    recipe = frozen_recipe(runs)
    whole, early = tmp_path / "whole", tmp_path / "early"
    train(prepare(recipe), whole, probe_every=100)
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)
    with pytest.raises(KeyboardInterrupt):
        train(prepare(recipe), early, probe_every=100, report=lambda step, row: signal.raise_signal(signal.SIGINT))
    stored = json.loads(json.dumps(asdict(recipe)))
    as_saved_earlier(early / checkpoint.CHECKPOINT, {name: stored[name] for name in EARLIER["frozen"]})
    assert commands.unfinished(early, FrozenRecipe) == recipe
    train(prepare(recipe), early, probe_every=100, resume=True)
    first, second = (load_file(place / checkpoint.MODEL) for place in (whole, early))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_recipes_of_an_earlier_version_are_read_where_they_still_mean_the_same(tmp_path):
    quick = frozen.preset("quick")  # but for its steps, which were 350
    quick = replace(quick, optimisation=replace(quick.optimisation, steps=350))
    now = {"frozen": quick, "blip2 2": blip2.preset("quick", 2)}
    for name, recipe in now.items():
        assert checkpoint.same_recipe(json.dumps(EARLIER[name]), recipe), name
        assert not checkpoint.same_recipe(json.dumps(EARLIER[name] | {"seed": 9}), recipe)
    changed = {
        "vision": vision.preset("nano"),
        "lm": lm.preset("nano"),
        "t5": t5.preset("nano"),
        "flamingo": flamingo.preset("quick"),
    }
    for name, recipe in changed.items():
        assert not checkpoint.same_recipe(json.dumps(EARLIER[name]), recipe), name
    for name, told in (("real", "between real models of an earlier version: .* --force"),
                       ("flamingo", "delete it to begin anew")):  # fmt: skip
        save_file({}, tmp_path / checkpoint.CHECKPOINT, {"recipe": json.dumps(EARLIER[name])})
        with pytest.raises(CheckpointError, match=told):
            commands.unfinished(tmp_path, FlamingoRecipe)
