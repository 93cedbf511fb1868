"""Bridges between real models, on tiny stand-ins that are made here: a Llama, a ViT and a BERT of transformers, random,
with tokenizers of their own, and a folder of generated pictures. What needs an asset skips where it is not.
"""

import io
import json
import os
import signal
from dataclasses import asdict, replace

os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
import torch
from minilmm_cli.main import main
from PIL import Image
from safetensors.torch import load_file
from tiny import assert_near
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    BertConfig,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    ViTConfig,
    ViTModel,
)

from minilmm.checkpoints import assets, hub, minilm, opening
from minilmm.checkpoints.opening import Trained, load, open_run
from minilmm.checkpoints.saving import CheckpointError, from_json
from minilmm.data import features, named
from minilmm.data.features import looked_at
from minilmm.evaluation.fewshot import Request, evaluate
from minilmm.evaluation.retrieval import retrieval_of_names
from minilmm.evaluation.scoring import BUDGET, LOGITS, parts
from minilmm.evaluation.tasks import Settings, real_task
from minilmm.training import blip2, flamingo, frozen
from minilmm.training import named as training
from minilmm.training.job import loss_of
from minilmm.training.loop import train, within
from minilmm.training.prepare import prepare
from minilmm.training.recipes import Optimisation
from minilmm.world.vocabulary import tokenizer

COLOURS = ("red", "green", "blue", "gold", "pink", "grey", "teal", "plum")
THINGS = ("fish", "lamp", "boat", "tree", "drum")
STEPS = Optimisation(3, lr=1e-2, warmup=1)


def needs(*names):
    missing = [name for name in names if assets.state(name) != "here"]
    return pytest.mark.skipif(bool(missing), reason=f"assets missing: minilmm assets get {' '.join(missing)}")


def bpe(folder, **special):
    """A byte-level tokenizer of a few merges, saved as transformers saves it."""
    pieces = Tokenizer(models.BPE())
    pieces.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pieces.decoder = decoders.ByteLevel()
    told = [f"Picture: {c} {t}. Name: {c} {t}. Caption:\n" for c in COLOURS for t in THINGS]
    trainer = trainers.BpeTrainer(vocab_size=330, special_tokens=sorted(set(special.values())),
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())  # fmt: skip
    pieces.train_from_iterator(told, trainer)
    PreTrainedTokenizerFast(tokenizer_object=pieces, **special).save_pretrained(folder)
    return pieces.get_vocab_size()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Folders "lm", "eyes", "minilm" and "pictures"."""
    place = tmp_path_factory.mktemp("real")
    torch.manual_seed(0)
    size = bpe(place / "lm", bos_token="<s>", eos_token="</s>", pad_token="<unused>")
    LlamaForCausalLM(LlamaConfig(
        vocab_size=size, hidden_size=32, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2,
        intermediate_size=48, max_position_embeddings=512, tie_word_embeddings=True, initializer_range=0.2,
    )).save_pretrained(place / "lm")  # fmt: skip
    eyes = ViTConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=32,
                     patch_size=16, initializer_range=0.3)  # fmt: skip
    ViTModel(eyes, add_pooling_layer=False).save_pretrained(place / "eyes")
    bert = place / "minilm" / minilm.FOLDER
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", ".", "a", *COLOURS, *THINGS]
    sizes = BertConfig(vocab_size=len(words), hidden_size=24, num_hidden_layers=2, num_attention_heads=2,
                       intermediate_size=32, max_position_embeddings=80)  # fmt: skip
    BertModel(sizes, add_pooling_layer=False).save_pretrained(bert)
    pieces = Tokenizer(models.WordPiece({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    pieces.pre_tokenizer = pre_tokenizers.Whitespace()
    pieces.save(str(bert / "tokenizer.json"))
    pictures = place / "pictures"
    pictures.mkdir()
    lines = []
    for i, colour in enumerate(COLOURS):
        for j, thing in enumerate(THINGS):
            picture = Image.new("RGB", (32, 32), (30 * i, 255 - 30 * i, 60 * j))
            picture.paste((255, 255, 255), (4 * j, 3 * i, 4 * j + 8, 3 * i + 8))
            picture.save(pictures / f"{colour}-{thing}.png")
            lines.append(json.dumps({"file_name": f"{colour}-{thing}.png", "text": f"{colour} {thing}."}))
    (pictures / "metadata.jsonl").write_text("\n".join(lines))
    return place


@pytest.fixture(autouse=True)
def stand_in(world, monkeypatch):
    monkeypatch.setattr(minilm, "locate", lambda name: world / "minilm")
    monkeypatch.setattr(training, "EPISODES", 4)


def recipe_of(bridge, world, **changes):
    parts = {"lm": str(world / "lm"), "vision": str(world / "eyes"), "data": str(world / "pictures"), "views": 2}
    parts |= {"optimisation": STEPS, **changes}
    if bridge == "frozen":
        return replace(frozen.real_preset("nano"), batch=4, **parts)
    if bridge == "flamingo":
        sizes = {"latents": 2, "every": 2, "heads": 2}
        return replace(flamingo.real_preset("nano"), **sizes, pairs=4, pages=2, first=1, **parts)
    return replace(blip2.real_preset("nano", 1), batch=4, queries=3, **parts)


@pytest.fixture
def make(world, tmp_path):
    """Trains a bridge, stage 2 behind a stage 1, and gives the job and the run's folder."""

    def build(bridge, **changes):
        if bridge == "blip2":
            first = prepare(recipe_of("stage1", world))
            train(first, tmp_path / "first")
            changes |= {"stage": 2, "start": str(tmp_path / "first")}
        return prepare(recipe_of(bridge, world, **changes))

    return build


BRIDGES = ("frozen", "flamingo", "stage1", "blip2")


def frozen_part(model):
    return {name: p.clone() for name, p in model.named_parameters() if not p.requires_grad}


@pytest.mark.parametrize("bridge", BRIDGES)
def test_a_bridge_trains_and_keeps_what_trained_alone(make, tmp_path, bridge, monkeypatch):
    job = make(bridge)
    before, started = frozen_part(job.model), Trained(job.model).state_dict()
    started = {name: p.clone() for name, p in started.items()}
    monkeypatch.setattr(job.model.encoder, "forward", lambda images: pytest.fail("the eyes looked again"))
    job = replace(job, probe=lambda: {"done": 1.0})
    train(job, tmp_path / "run", command="as typed")
    assert all(torch.equal(before[name], p) for name, p in frozen_part(job.model).items())
    state = load_file(tmp_path / "run" / "model.safetensors")
    assert state.keys() == started.keys() and not any(name.startswith(("lm.", "encoder.")) for name in state)
    moved = {name.split(".")[0] for name in state if not torch.equal(state[name], started[name])}
    assert moved >= {"frozen": {"to_prefix"}, "flamingo": {"resampler", "xattn"}, "blip2": {"qformer", "to_lm"},
                     "stage1": {"qformer", "itm_head", "vision_proj"}}[bridge]  # fmt: skip
    assert not any("ffw_text" in name or "words" in name for name in state) or bridge == "stage1"
    card = json.loads((tmp_path / "run" / "card.json").read_text())
    assert card["config"]["lm"].endswith("lm") and card["config"]["vision"].endswith("eyes")
    assert from_json(type(job.recipe), card["recipe"]) == job.recipe


@pytest.mark.parametrize("bridge", ("frozen", "blip2"))
def test_pages_are_read_from_their_step_on(make, bridge):
    """Flamingo's kind of data for the others, too: at first captions alone, then a page's loss comes on top."""
    job = make(bridge)
    losses = []
    for pages in (0, 2):
        recipe = replace(job.recipe, optimisation=Optimisation(8, lr=1e-3), pages=pages, first=1)
        again = replace(job, recipe=recipe)
        with torch.no_grad():
            losses.append([float(again.loss(again.draw[step])) for step in (0, 1)])
    (before, alone), (same, more) = losses
    assert before == same and more > alone + 0.1


def test_frozen_begins_near_the_words_of_its_names(make):
    """What the ridge says of a training picture is nearer to the words of its name than of other names."""
    job = make("frozen", ridge=1e-3)
    x = job.model.encoder.pool(job.seen.features[0, :, 0].float())
    found = job.model.to_prefix(x).detach().unflatten(1, (2, -1))  # (N, 2, D)
    ids = [job.tokenizer.encode(f" {name}") for name in job.seen.names]
    told = job.model.lm.embed(torch.tensor([[row[0], row[-1]] for row in ids]))
    told = told - told.mean(0)
    similar = torch.einsum("ind,jnd->ij", found, told)
    own, other = similar.diagonal().mean(), similar[~torch.eye(len(similar), dtype=torch.bool)].mean()
    assert own > 3 * abs(other) and own > 0.3 * told.square().sum((1, 2)).mean()
    assert not torch.equal(make("frozen", ridge=0.0).model.to_prefix.weight, job.model.to_prefix.weight)


def test_the_resampler_begins_without_what_all_pictures_share(make):
    """Features and time embeddings together have mean 0 over all pictures, and channels that vary much weigh less."""
    job = make("flamingo")
    x = job.seen.features[:, :, 0].flatten(0, 2).float()
    resampler = job.model.resampler
    assert torch.allclose((x + resampler.times(1)[0]).mean(0), torch.zeros(x.shape[1]), atol=1e-4)
    weight, deviation = resampler.context_norm[0].weight.detach(), x.std(0)
    assert weight[deviation.argmax()] == weight.min() < 1 < weight.max() <= 3


@pytest.mark.parametrize("bridge", BRIDGES)
def test_a_run_opens_as_it_was(make, tmp_path, bridge, generator):
    job = make(bridge)
    train(job, tmp_path / "run")
    model, card = load(tmp_path / "run")
    assert card["kind"] == f"real-{'blip2-stage1' if bridge == 'stage1' else bridge}"
    if bridge == "stage1":
        assert retrieval_of_names(model, job.tokenizer, job.data) == retrieval_of_names(
            job.model, job.tokenizer, job.data
        )
        return
    batch = named.captions(job.data, job.tokenizer, job.form)(4, generator)
    with torch.no_grad():
        assert torch.equal(model(batch), job.model(batch))
    task = real_task("naming", job.data, job.tokenizer, job.form)
    for names in ("real", "nonsense"):
        result = evaluate(model, task, Request((0, 1), Settings(ways=3, names=names), episodes=4))
        assert result["chance"] == pytest.approx(1 / 3, abs=1e-3) and len(result["rows"]) == 8
        assert all(row["prior"] == pytest.approx(1 / 3, abs=1e-3) for row in result["rows"])
    task = real_task("caption", job.data, job.tokenizer, job.form)
    result = evaluate(model, task, Request((0, 2), episodes=4))
    assert {row["prior"] for row in result["rows"]} == {0.0}


@pytest.mark.parametrize("bridge", BRIDGES)
def test_a_run_that_was_stopped_ends_with_the_same_weights(make, tmp_path, bridge):
    whole = make(bridge)
    train(whole, tmp_path / "whole")

    def stop(step, row):
        if step == 2:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(make(bridge), tmp_path / "stopped", report=stop)
    kept = load_file(tmp_path / "stopped" / "checkpoint.safetensors")
    assert not any(name.startswith(("model.lm.", "model.encoder.")) for name in kept)
    train(make(bridge), tmp_path / "stopped", resume=True)
    a, b = (load_file(tmp_path / run / "model.safetensors") for run in ("whole", "stopped"))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_features_stand_beside_the_documents(world, generator):
    eyes, _ = opening.load_encoder(str(world / "eyes"))
    data = training.data_named(str(world / "pictures"), 32)
    seen = looked_at(data, eyes, 3)
    count = int((~data.held_out).sum())
    assert seen.features.shape == (1, count, 3, eyes.positions, eyes.width) and seen.features.dtype == torch.half
    assert not bool(seen.held_out.any()) and set(seen.names).isdisjoint(data.names[i] for i in data.rows("held-out"))
    again = looked_at(data, eyes, 3)
    assert torch.equal(again.features, seen.features)
    model, words = frozen.compose(recipe_of("frozen", world))
    batch = named.captions(replace(seen, features=seen.features[:, :, :1]), words)(4, generator)
    assert batch.media.shape == (4, 1, 1, 3, 1, 1)
    assert batch.features.shape == (4, 1, 1, eyes.positions, eyes.width)
    # The first view is the picture itself: its pixels give the same loss.
    rows = [seen.names.index(words.decode(ids[learn].tolist()).strip().removesuffix(".<EOC>"))
            for ids, learn in zip(batch.ids, batch.loss_mask, strict=True)]  # fmt: skip
    pixels = batch.with_media(seen.pictures[0, rows][:, None, None].float() / 255)
    with torch.no_grad():
        assert float(loss_of(model, batch)) == pytest.approx(float(loss_of(model, pixels)), rel=1e-2)
        assert float(training.spoken(model, batch)) == pytest.approx(float(loss_of(model, batch)), rel=1e-4)


def test_features_are_bounded(world, monkeypatch):
    eyes = opening.load_encoder(str(world / "eyes"))[0]
    data = training.data_named(str(world / "pictures"), 32)
    one = int((~data.held_out).sum()) * eyes.positions * eyes.width * 2
    monkeypatch.setattr(features, "ROOM", 2 * one + 1)
    assert looked_at(data, eyes, 4).features.shape[2] == 2
    monkeypatch.setattr(features, "ROOM", one - 1)
    with pytest.raises(ValueError, match="smaller --resolution"):
        looked_at(data, eyes, 4)


def test_flamingo_speaks_of_its_last_picture_alone(make, generator):
    job = make("flamingo")
    page = named.pages(job.seen, job.tokenizer, job.form, ways=2, shots=1)(2, generator)
    assert page.media.shape[:2] == (2, 3)
    with torch.no_grad():
        assert float(training.spoken(job.model, page)) == pytest.approx(float(loss_of(job.model, page)), rel=1e-4)


def test_a_borrowed_language_model_has_the_words_it_needs(world, tmp_path):
    lm, words = hub.load_lm(str(world / "lm"))
    newline = lm.embed(torch.tensor([words.encode("\n")[-1]]))
    assert_near(lm.embed(torch.tensor([words.eoc_token_id])), 1.001 * newline)
    assert words.pad_token_id == words.convert_tokens_to_ids("<unused>")
    size = bpe(tmp_path / "gpt", bos_token="<end>", eos_token="<end>")  # GPT-2's way: one token for everything
    config = GPT2Config(vocab_size=size + 20, n_embd=16, n_layer=1, n_head=2, n_positions=64, tie_word_embeddings=False)
    GPT2LMHeadModel(config).save_pretrained(tmp_path / "gpt")
    lm, words = hub.load_lm(str(tmp_path / "gpt"))
    ids = [words.pad_token_id, words.image_token_id, words.eoc_token_id, words.bos_token_id]
    assert len(set(ids)) == 4 and words.eos_token_id == words.bos_token_id and not len(lm.added)
    head = lm.model.get_output_embeddings().weight
    assert_near(head[words.eoc_token_id], 1.001 * head[words.encode("\n")[-1]])
    with pytest.raises(ValueError, match="no causal language model"):
        hub.load_lm(str(world / "pictures"))


def test_prompts_are_read_in_smaller_groups_by_large_vocabularies(world, generator):
    class Wide:
        def __len__(self):
            return 50_000

    data = training.data_named(str(world / "pictures"), 32)
    _, words = hub.load_lm(str(world / "lm"))
    batch = named.captions(data, words)(2, generator)
    length = batch.ids.shape[1]
    for vocabulary, budget in ((tokenizer(), BUDGET), (Wide(), LOGITS // 50_000)):
        assert parts(batch, 5, vocabulary)[0].stop == budget // (5 * length)


def test_another_model_under_the_same_name_is_refused(make, tmp_path):
    train(make("frozen"), tmp_path / "run")
    card = json.loads((tmp_path / "run" / "card.json").read_text())
    card["config"]["model"]["lm"]["layers"] = 7
    (tmp_path / "run" / "card.json").write_text(json.dumps(card))
    with pytest.raises(CheckpointError, match=r"another .*sizes differ"):
        load(tmp_path / "run")


def test_a_missing_asset_is_one_line(make, tmp_path, monkeypatch, capsys):
    train(make("frozen"), tmp_path / "run")
    card = json.loads((tmp_path / "run" / "card.json").read_text())
    card["config"]["lm"] = "smollm2"
    (tmp_path / "run" / "card.json").write_text(json.dumps(card))
    monkeypatch.setenv("MINILMM_CACHE", str(tmp_path / "cache"))
    assert main(["eval", str(tmp_path / "run"), "--task", "naming"]) == 1
    assert "minilmm assets get smollm2" in capsys.readouterr().err


def test_captions_that_are_alike_do_not_end_stage_1_unless_all_are(make):
    job = make("stage1")
    context = job.model.config.qformer.context
    for names, ends in ((["red fish"] * 30 + ["gold boat"], False), (["red fish"] * 31, True)):
        count = len(names)
        seen = replace(job.seen, names=names, features=job.seen.features[:, :1].expand(-1, count, -1, -1, -1))
        if ends:
            with pytest.raises(ValueError, match="all 31 captions are equal"):
                blip2.matched_names(seen, job.tokenizer, context)
            continue
        again = replace(job, sample=blip2.matched_names(seen, job.tokenizer, context))
        with torch.no_grad():
            assert all(bool(again.loss(again.draw[step]).isfinite()) for step in range(12))
    with pytest.raises(ValueError, match="a batch of 1"):
        prepare(replace(job.recipe, batch=1))


# --- the command line ----------------------------------------------------------------------------------------------


@pytest.fixture
def options(world):
    return ["--vision", str(world / "eyes"), "--data", str(world / "pictures"), "--steps", "2", "--device", "cpu"]


def test_the_commands(world, options, tmp_path, capsys, monkeypatch):
    lm, run = ["--lm", str(world / "lm")], str(tmp_path / "run")
    assert main(["train", "frozen", *lm, *options, "--batch", "4", "--prefix-tokens", "1", "--out", run]) == 0
    card = json.loads((tmp_path / "run" / "card.json").read_text())
    assert card["recipe"]["prefix_tokens"] == 1 and card["recipe"]["batch"] == 4 and card["kind"] == "real-frozen"
    assert "4 views of each" in capsys.readouterr().out
    assert (
        main(["eval", run, "--task", "naming", "--ways", "3", "--shots", "0,1", "--episodes", "4", "--json", "-"]) == 0
    )
    result = json.loads(capsys.readouterr().out)
    assert result["task"] == "naming" and result["settings"]["data"] == str(world / "pictures")
    assert {row["condition"] for row in result["rows"]} == {"real", "blank_images", "shuffled_images", "text_only"}
    assert main(["eval", run, "--task", "caption", "--episodes", "4", "--conditions", "real"]) == 0
    assert main(["curve", run, "--task", "naming", "--shots", "0,1", "--episodes", "4", "--out",
                 str(tmp_path / "c.png")]) == 0  # fmt: skip
    picture = str(world / "pictures" / "red-fish.png")
    capsys.readouterr()
    assert main(["ask", run, "--image", picture, "--max-tokens", "3"]) == 0
    answer = capsys.readouterr().out
    monkeypatch.setattr("sys.stdin", io.StringIO("\nIs THAT so?\n"))
    assert main(["chat", run, "--image", picture, "--max-tokens", "3"]) == 0
    answers = capsys.readouterr().out.splitlines()
    assert len(answers) == 2 and answers[0].split() == answer.split()
    assert main(["ask", run, "--image", picture, "--prompt", "Picture:<image> Name:"]) == 0
    assert main(["params", run]) == 0 and "to_prefix" in capsys.readouterr().out
    for bad, told in (
        (["eval", run, "--task", "retrieval"], "retrieval is for stage 1"),
        (["eval", run, "--task", "vqa"], "with real models choose naming, caption or retrieval"),
        (
            ["eval", run, "--task", "caption", "--scoring", "rank"],
            "'rank' for caption: choose generate",
        ),
        (["eval", run, "--task", "naming", "--data", "emojis"], "emoji or photographs"),
        (["show", "gates", run], "do not read the mini-world"),
        (["show", "failures", run], "do not read the mini-world"),
        (["trace", "frozen", "--run", run], "do not read the mini-world"),
        (["train", "frozen", *lm, *options, "--out", run], "holds a finished run"),
    ):
        assert main(bad) == 1
        error = capsys.readouterr().err
        assert told in error and error.count("\n") == 1


def test_blip2_through_both_stages(world, options, tmp_path, capsys):
    first, second = str(tmp_path / "first"), str(tmp_path / "second")
    start = ["--stage", "1", *options, "--batch", "4"]
    assert main(["train", "blip2", *start, "--out", first]) == 0
    assert main(["eval", first, "--task", "retrieval", "--json", "-"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [row["metric"] for row in result["rows"]][:2] == ["TR@1, ITC, photographs", "TR@5, ITC, photographs"]
    assert main(["eval", first, "--task", "naming"]) == 1
    assert "takes no prompts" in capsys.readouterr().err
    behind = ["train", "blip2", "--stage", "2", "--from", first, "--lm", str(world / "lm"), "--batch", "4"]
    assert main([*behind, "--minutes", "0.02", "--out", second]) == 0
    assert "--steps" in capsys.readouterr().out
    recipe = json.loads((tmp_path / "second" / "card.json").read_text())["recipe"]
    assert recipe["vision"] == str(world / "eyes") and recipe["data"] == str(world / "pictures")
    assert main(["ask", second, "--image", str(world / "pictures" / "red-fish.png")]) == 0
    assert main([*behind, "--data", "photographs", "--out", str(tmp_path / "third")]) == 1
    assert f"--data {world / 'pictures'}" in capsys.readouterr().err


def test_minutes_leave_the_weights_as_they_were(make):
    job = make("flamingo")
    before = {name: p.clone() for name, p in Trained(job.model).state_dict().items()}
    more = within(job, 0.05)
    assert more.recipe.optimisation.steps >= 1 and more.recipe.optimisation.warmup <= 50
    assert all(torch.equal(before[name], p) for name, p in Trained(more.model).state_dict().items())
    assert {**asdict(more.recipe), "optimisation": 0} == {**asdict(job.recipe), "optimisation": 0}


@pytest.mark.parametrize(
    "wrong, told",
    [
        (["--lm", "smollm2", "--data", "world"], "the mini-world needs lm-nano"),
        (["--lm", "smollm2", "--data", "easy-vqa"], "the mini-world needs lm-nano"),
        (["--lm", "lm-nano", "--data", "emoji"], "lm-nano: belongs to the mini-world"),
        (["--lm", "lm-nano", "--vision", "efficientnet-lite0"], "belongs to the mini-world"),
        (["--data", "emoji", "--variant", "blind"], "--variant: is for the mini-world alone"),
        (["--data", "emoji", "--preset", "quick"], "nano or small"),
        (["--data", "emoji", "--lm", "smolm2"], "no such language model"),
        (["--data", "emoji", "--steps", "2", "--minutes", "1"], "give one of them"),
        (["--resolution", "224"], "only to real models"),
        (["--pages", "4"], "only to real models"),
    ],
)
def test_what_does_not_fit_is_one_line(tmp_path, capsys, wrong, told):
    assert main(["train", "frozen", *wrong, "--out", str(tmp_path / "run")]) == 1
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1 and not (tmp_path / "run").exists()


def test_mini_world_runs_read_no_real_pictures(capsys):
    assert main(["eval", "lm-nano", "--task", "naming", "--data", "emoji"]) == 1
    assert "is a run of the mini-world" in capsys.readouterr().err


# --- with assets ---------------------------------------------------------------------------------------------------

EMOJI = ("efficientnet-lite0", "twemoji", "openmoji", "emoji-data")


@pytest.mark.slow
@needs("smollm2", *EMOJI)
@pytest.mark.parametrize("bridge", ["frozen", "flamingo"])
def test_smollm2_and_emoji(tmp_path, bridge):
    recipe = {"frozen": frozen, "flamingo": flamingo}[bridge].real_preset("nano")
    size = {"batch": 4} if bridge == "frozen" else {"pairs": 4}
    recipe = replace(recipe, optimisation=STEPS, views=1, **size)
    job = prepare(recipe)
    before = {name: float(p.double().sum()) for name, p in frozen_part(job.model).items()}
    train(job, tmp_path / "run")
    assert before == {name: float(p.double().sum()) for name, p in frozen_part(job.model).items()}
    assert (tmp_path / "run" / "model.safetensors").stat().st_size < 250e6
    model, _ = load(tmp_path / "run")
    task = real_task("naming", job.data, job.tokenizer, job.form)
    result = evaluate(model, task, Request((1,), Settings(ways=5), 2, ("real",)))
    assert result["chance"] == 0.2


@pytest.mark.slow
@needs("minilm", "smollm2", *EMOJI)
def test_minilm_and_emoji(tmp_path):
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setattr(minilm, "locate", assets.locate)
    recipe = replace(blip2.real_preset("nano", 1), optimisation=STEPS, batch=4, views=1)
    first = prepare(recipe)
    train(first, tmp_path / "first")
    found = retrieval_of_names(first.model, first.tokenizer, first.data, candidates=0)
    assert len(found) == 12 and all(0 <= row["value"] <= 1 for row in found)
    second = replace(recipe, stage=2, start=str(tmp_path / "first"))
    train(prepare(second), tmp_path / "second")
    model, words, _ = open_run(tmp_path / "second")
    batch = named.captions(first.data, words)(2, torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert bool(model(batch).isfinite().all())
    monkeypatch.undo()
