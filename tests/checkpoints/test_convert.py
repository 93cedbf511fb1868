"""Checkpoints of transformers in our modules and back: equal logits, equal bytes, and every bad input one line."""

import io
import json
import os
import shutil
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import huggingface_hub
import numpy as np
import pytest
import torch
import transformers
from minilmm_cli.main import main
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tiny import assert_near
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import nn

from minilmm.checkpoints.convert import asking, weights
from minilmm.checkpoints.convert import models as parts
from minilmm.checkpoints.convert.folders import convert
from minilmm.checkpoints.opening import load, open_run
from minilmm.checkpoints.saving import unique_state
from minilmm.data.pictures import load_stretched
from minilmm.interface.document import Batch
from minilmm.language.adapter import TransformersLM, TransformersT5
from minilmm.language.encdec import EncoderDecoder

WORDS = ["<pad>", "<s>", "</s>", "<unk>", "Question:", "what", "is", "this?", "Answer:", "a", "red", "cat", "dog"]
IMAGE, QUERIES = 59, 5
EYES = {"hidden_size": 24, "intermediate_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 28,
        "patch_size": 14}  # fmt: skip
ENDS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
T5 = {"vocab_size": 60, "d_model": 32, "d_ff": 24, "num_layers": 2, "num_heads": 4, "decoder_start_token_id": 0}


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("MINILMM_DEBUG", raising=False)


def blip2(text=None):
    q = {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 40,
         "max_position_embeddings": 12, "encoder_hidden_size": 24, "use_qformer_text_input": text is None}  # fmt: skip
    more = {} if text is None else {"text_config": text.to_dict(), "image_token_index": IMAGE}
    config = transformers.Blip2Config(vision_config=EYES, qformer_config=q, num_query_tokens=QUERIES,
                                      image_text_hidden_size=16, **more)  # fmt: skip
    return (transformers.Blip2ForImageTextRetrieval if text is None else transformers.Blip2ForConditionalGeneration)(
        config
    )


def opt(tied=True):
    return blip2(transformers.OPTConfig(
        vocab_size=60, hidden_size=20, num_hidden_layers=2, num_attention_heads=2, ffn_dim=24, word_embed_proj_dim=20,
        max_position_embeddings=64, tie_word_embeddings=tied, **ENDS,
    ))  # fmt: skip


def t5(own_head=True):
    model = blip2(transformers.T5Config(d_kv=8, feed_forward_proj="gated-gelu", tie_word_embeddings=False, **T5))
    if own_head:  # FlanT5's: its configuration says tied, its checkpoint has two matrices
        model.language_model.lm_head.weight = nn.Parameter(torch.empty(60, 32))
    return model


def idefics(normed=True):
    """With all that IDEFICS-9B has: norms per head, added words, a gated layer in front of every second block."""
    c = {**EYES, "embed_dim": EYES["hidden_size"]}
    del c["hidden_size"]
    resampler = {"use_resampler": True, "resampler_n_latents": 3, "resampler_depth": 2, "resampler_n_heads": 2,
                 "resampler_head_dim": 8, "qk_layer_norms_perceiver": normed}  # fmt: skip
    return transformers.IdeficsForVisionText2Text(transformers.IdeficsConfig(
        vocab_size=50, additional_vocab_size=2 if normed else 0, hidden_size=32, intermediate_size=40,
        num_hidden_layers=4, num_attention_heads=4, cross_layer_interval=2, use_resampler=True, qk_layer_norms=normed,
        alpha_type="vector" if normed else "float", vision_config=c, perceiver_config=resampler, **ENDS,
    ))  # fmt: skip


MAKE = {
    "opt": opt,
    "opt-untied": lambda: opt(tied=False),
    "flan-t5": t5,
    "t5-tied-head": lambda: t5(own_head=False),
    "first-t5": lambda: blip2(transformers.T5Config(d_kv=4, **T5)),
    "retrieval": blip2,
    "idefics": idefics,
    "plain-idefics": lambda: idefics(False),
}


def random(name):
    """A model of that family with weights of its own everywhere: queries, vision, gates, norms."""
    torch.manual_seed(0)
    model = MAKE[name]().eval()
    for key, p in model.named_parameters():
        norm = "norm" in key.lower() and key.endswith("weight")
        nn.init.uniform_(p, 0.5, 1.5) if norm else nn.init.normal_(p, std=0.2)
    return model


def tokenizer(name):
    """A tiny tokenizer as the family has it: a start token for OPT, an end token for T5, marks for IDEFICS."""
    marks = {"idefics": ["<fake_token_around_image>", "<image>"], "opt": ["<image>"], "flan-t5": ["<image>"]}[name]
    size = 50 if name == "idefics" else IMAGE
    words = WORDS + [f"w{i}" for i in range(len(WORDS), size)] + marks
    raw = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    around = {"opt": "<s> $A", "flan-t5": "$A </s>"}.get(name, "$A")
    raw.post_processor = processors.TemplateProcessing(single=around, special_tokens=[("<s>", 1), ("</s>", 2)])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>",
        additional_special_tokens=marks,
    )  # fmt: skip


@pytest.fixture
def saved(tmp_path):
    """Saves a random model, in shards and with a tokenizer where asked: the model and its folder."""

    def save(name, shards=False, words=False):
        model, folder = random(name), tmp_path / name
        model.save_pretrained(folder, max_shard_size="20KB" if shards else "5GB")
        if words:
            tokenizer(name).save_pretrained(folder)
        return model, folder

    return save


def logits(name, theirs, ours):
    """Both models' logits of documents that both can read, the same at every call."""
    torch.manual_seed(1)
    pixels = torch.rand(2, 2, 3, 28, 28)
    seen = ours.encoder.normalised(pixels.flatten(0, 1)).unflatten(0, (2, 2))
    if "idefics" in name:
        tag = ours.config.image_id
        ids = torch.tensor([[1, 10, tag, 11, 4, tag, 12], [1, tag, 9, 5, 6, tag, 8]])
        looks = torch.stack([(ids == tag).cumsum(1) == n + 1 for n in range(2)], -1).long()
        expected = theirs(input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=seen,
                          image_attention_mask=looks)  # fmt: skip
        return ours(Batch.of(ids, pixels[:, :, None], image=tag)), expected.logits
    pixels, seen = pixels[:, 0], seen[:, 0]
    if name == "retrieval":
        ids, real = torch.randint(1, 50, (2, 6)), torch.tensor([[True] * 6, [True] * 4 + [False] * 2])
        kinds = [theirs(pixel_values=seen, input_ids=ids, attention_mask=real.long(), use_image_text_matching_head=m)
                 for m in (True, False)]  # fmt: skip
        image = ours.image_embeddings(ours.qformer(ours.see(pixels))[0])
        similar = ours.similarity(image, ours.text_embeddings(ids, real))
        mine = torch.cat([ours.match(ours.see(pixels), ids, real), similar], 1)
        return mine, torch.cat([kind.logits_per_image for kind in kinds], 1)
    ids = torch.tensor([[1, IMAGE, 5, 6, 7, 2], [1, IMAGE, 8, 9, 6, 2]])
    wide = torch.cat([ids[:, :1], torch.full((2, QUERIES), IMAGE), ids[:, 2:]], 1)
    if "t5" in name:
        learn = torch.tensor([[False] * 3 + [True] * 3] * 2)
        mine = ours(Batch.of(ids, pixels[:, None, None], image=IMAGE, loss_mask=learn))[:, 2:5]
        prompt = wide[:, :-3]
        return mine, theirs(pixel_values=seen, input_ids=prompt, attention_mask=torch.ones_like(prompt),
                            labels=ids[:, 3:].contiguous()).logits  # fmt: skip
    mine = ours(Batch.of(ids, pixels[:, None, None], image=IMAGE))[:, 1:]
    return mine, theirs(pixel_values=seen, input_ids=wide, attention_mask=torch.ones_like(wide)).logits[:, QUERIES:]


@pytest.mark.parametrize("shards", [False, True])
@pytest.mark.parametrize("name", sorted(MAKE))
@torch.no_grad()
def test_equal_logits_there_and_equal_bytes_back(name, shards, saved, tmp_path):
    model, folder = saved(name, shards)
    assert (folder / "model.safetensors.index.json").is_file() == shards
    convert(str(folder), tmp_path / "ours")
    ours, _ = load(tmp_path / "ours")
    mine, expected = logits(name, model, ours)
    assert float(expected.std()) > 0.05
    scale = max(1.0, float(expected.abs().max()))
    assert_near(mine / scale, expected / scale)
    assert convert(str(tmp_path / "ours"), tmp_path / "back") == type(model).__name__
    back, info = type(model).from_pretrained(tmp_path / "back", output_loading_info=True)
    assert not any(info.values()), info
    before, after = model.state_dict(), back.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)
    assert torch.equal(logits(name, back.eval(), ours)[1], expected)
    files = [load_file(path) for path in folder.glob("*.safetensors")]
    stored = {key: tensor for file in files for key, tensor in file.items()}
    again = load_file(tmp_path / "back" / "model.safetensors")
    assert all(torch.equal(stored[key], again[key]) for key in stored.keys() & again.keys())
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["back", name, "ours"])


IDEFICS_9B = {
    "architectures": ["IdeficsForVisionText2Text"], "additional_vocab_size": 2, "cross_layer_interval": 4,
    "qk_layer_norms": True, "use_resampler": True, "vision_config": {"embed_dim": 1280},
    "perceiver_config": {"qk_layer_norms_perceiver": True},
}  # fmt: skip
FLAN_T5_XL = {
    "architectures": ["Blip2ForConditionalGeneration"], "image_token_index": 32100,
    "text_config": {"model_type": "t5", "d_model": 2048, "d_kv": 64, "d_ff": 5120, "num_layers": 24, "num_heads": 32,
                    "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False, "decoder_start_token_id": 0},
}  # fmt: skip


@pytest.mark.parametrize("theirs, billions", [(IDEFICS_9B, 8.93), (FLAN_T5_XL, 3.94)])
def test_at_full_size_every_weight_has_its_place(theirs, billions):
    """Without memory: on the meta device."""
    skeleton = parts.skeleton(theirs)
    config = {"theirs": theirs, "image": None, "image_id": 32001, "tied": False}
    with torch.device("meta"):
        ours = parts.build(config)
    stored, same, shapes = unique_state(ours), weights.aliases(skeleton), skeleton.state_dict()
    placed = weights.pairs(ours, parts.table_of(config, ours))
    assert sum(t.numel() for t in stored.values()) / 1e9 == pytest.approx(billions, abs=0.01)
    assert all(stored[name].numel() == sum(shapes[n].numel() for n in names) for name, names in placed.items())
    assert {same[n][0] for names in placed.values() for n in names} == {group[0] for group in same.values()}


def test_our_own_modules_stand_wherever_they_can(saved, tmp_path):
    kinds = {"opt": TransformersLM, "flan-t5": EncoderDecoder, "first-t5": TransformersT5}
    for name, kind in kinds.items():
        convert(str(saved(name)[1]), tmp_path / f"{name}-ours")
        assert isinstance(load(tmp_path / f"{name}-ours")[0].lm, kind)


def test_half_precision_stays_as_it_is_in_the_files_and_runs_in_single(saved, tmp_path):
    model, folder = saved("opt")
    model.to(torch.bfloat16).save_pretrained(folder)
    convert(str(folder), tmp_path / "ours")
    assert load_file(tmp_path / "ours" / "model.safetensors")["to_lm.weight"].dtype == torch.bfloat16
    ours, _ = load(tmp_path / "ours")
    assert {p.dtype for p in ours.parameters()} == {torch.float32}
    convert(str(tmp_path / "ours"), tmp_path / "back")
    before, after = (load_file(place / "model.safetensors") for place in (folder, tmp_path / "back"))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[k].view(torch.uint8), after[k].view(torch.uint8)) for k in before)


def test_a_head_stored_twice_is_one_and_two_that_differ_are_two(saved, tmp_path):
    _, folder = saved("opt")
    tensors, words = load_file(folder / "model.safetensors"), "language_model.model.decoder.embed_tokens.weight"
    for head, tied in ((tensors[words].clone(), True), (tensors[words] + 1, False)):
        save_file(tensors | {"language_model.lm_head.weight": head}, folder / "model.safetensors", {"format": "pt"})
        convert(str(folder), tmp_path / f"tied-{tied}")
        lm = load(tmp_path / f"tied-{tied}")[0].lm
        assert lm.tied == tied and torch.equal(lm.model.lm_head.weight, head)


def test_a_name_of_the_hub_is_its_folder_in_the_cache(saved, tmp_path, monkeypatch):
    _, folder = saved("opt", shards=True)
    cached = tmp_path / "hub" / "models--some--blip2"
    shutil.copytree(folder, cached / "snapshots" / "c0ffee")
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("c0ffee")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    assert convert("some/blip2", tmp_path / "ours") == "Blip2ForConditionalGeneration"


def test_what_older_versions_stored_beside_the_weights_is_left_out(saved, tmp_path):
    _, folder = saved("idefics")
    tensors = load_file(folder / "model.safetensors")
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(4)
    tensors["model.vision_model.embeddings.position_ids"] = torch.arange(5)[None]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    convert(str(folder), tmp_path / "ours")


def picture(place):
    path = place / "a.png"
    pixels = np.random.default_rng(0).integers(0, 255, (37, 52, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.mark.parametrize("name", ["opt", "flan-t5", "idefics"])
def test_ask_speaks_as_transformers_does(name, saved, tmp_path, capsys, monkeypatch):
    model, folder = saved(name, words=True)
    words, path, run = tokenizer(name), picture(tmp_path), tmp_path / "ours"
    assert main(["convert", str(folder), "--to", str(run)]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert f"{run}: {'idefics' if name == 'idefics' else 'blip2'}-converted, from {folder}" in told
    prompt = "Question: what is this? Answer:"
    asked = ["ask", str(run), "--image", str(path), "--prompt", prompt, "--max-tokens", "6", "--device", "cpu"]
    assert main(asked) == 0
    answer = capsys.readouterr().out.strip()
    assert answer
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{prompt}\n/image {path}\n"))
    assert main(["chat", *asked[1:4], *asked[6:]]) == 0
    out, err = capsys.readouterr()
    assert out.split() == answer.split() and ("put <image> first" in err) == (name != "idefics")
    pil = transformers.models.blip.image_processing_pil_blip.BlipImageProcessorPil(size={"height": 28, "width": 28})
    pixels = pil(Image.open(path), return_tensors="pt").pixel_values
    opened = open_run(run)
    mine = opened.model.encoder.normalised(opened.reader.batch("<image>", [load_stretched(path, 28)]).media[0, 0])
    assert_near(mine, pixels)
    if name == "idefics":
        mark = "<fake_token_around_image>"
        ids = words(f"<s> {mark}<image>{mark}{prompt}".replace("<s> ", "<s>"), add_special_tokens=False).input_ids
        looks = torch.tensor([[[int(i >= ids.index(51))] for i in range(len(ids))]])
        more = {"pixel_values": pixels[None], "image_attention_mask": looks}
    else:
        ids = [IMAGE] * QUERIES + words(prompt).input_ids
        more = {"pixel_values": pixels}
    ids = torch.tensor([ids])
    said = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=6, **more)
    said = said[0] if name == "flan-t5" else said[0, ids.shape[1] :]
    assert words.decode(said, skip_special_tokens=True).strip() == answer
    assert opened.reader.encode("a cat") == [9, 11, opened.reader.stop[0]]
    assert main([*asked, "--choices", "a cat,dog"]) == 0
    told = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert {" ".join(row[:-1]) for row in told} == {"a cat", "dog"}
    assert sum(float(row[-1]) for row in told) == pytest.approx(1, abs=2e-3)


def test_prompts_are_written_as_each_family_writes_them(saved, tmp_path):
    for name in ("opt", "flan-t5", "idefics"):
        convert(str(saved(name, words=True)[1]), tmp_path / f"{name}-ours")
    opt, flan, idefics = (asking.Reader(str(tmp_path / f"{n}-ours")) for n in ("opt", "flan-t5", "idefics"))
    assert opt.blip2("<image> a cat") == [IMAGE, 1, 9, 11] and flan.blip2("<image> a cat") == [IMAGE, 9, 11, 2]
    assert opt.stop == (2,) and opt.decode(torch.tensor([11, 2, 9])) == "cat"
    (tmp_path / "opt-ours" / "transformers" / "generation_config.json").write_text('{"eos_token_id": [2, 9]}')
    several = asking.Reader(str(tmp_path / "opt-ours"))
    assert several.stop == (2, 9) and several.decode(torch.tensor([11, 9, 11])) == "cat"
    assert idefics.idefics("a <image><image> cat <image>") == [1, 9, 50, 51, 50, 51, 50, 11, 50, 51, 50]
    silent = idefics.batch("a cat", [])
    assert silent.media.shape == (1, 1, 1, 3, 28, 28) and not silent.media_mask.any()
    with pytest.raises(ValueError, match="put <image> first"):
        opt.blip2("a cat <image>")


@pytest.fixture
def fails(capsys, tmp_path):
    """A command that must fail in one line that holds the words given, and leave nothing behind."""

    def run(*arguments, holds):
        before, _ = sorted(tmp_path.rglob("*")), capsys.readouterr()
        assert main([str(a) for a in arguments]) == 1
        out, err = capsys.readouterr()
        assert not out and err.startswith("error: ") and err.count("\n") == 1 and holds in err, err
        assert sorted(tmp_path.rglob("*")) == before

    return run


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_every_bad_source_is_one_line_and_leaves_nothing(saved, tmp_path, fails):
    _, good = saved("opt", shards=True, words=True)
    to = ["--to", tmp_path / "ours"]

    def spoilt(name):
        return Path(shutil.copytree(good, tmp_path / name))

    fails("convert", tmp_path / "nothing", *to, holds="no such folder")
    fails("convert", "no/such-model", *to, holds="nor such model of the hub")
    fails("convert", "frozen-nano", *to, holds="no such folder")
    (tmp_path / "empty").mkdir()
    fails("convert", tmp_path / "empty", *to, holds="config.json: no such file")
    family = spoilt("family")
    edit(family / "config.json", architectures=["LlavaForConditionalGeneration"])
    fails("convert", family, *to, holds="describes LlavaForConditionalGeneration: expected one of Blip2For")
    (family / "config.json").write_text("{")
    fails("convert", family, *to, holds="config.json: damaged")
    gap = spoilt("gap")
    first = sorted(gap.glob("*.safetensors"))[0]
    first.unlink()
    fails("convert", gap, *to, holds=f"{first.name}: this shard is missing")
    first.write_bytes(b"\x10" * 40)
    fails("convert", gap, *to, holds=f"{first.name}: damaged")
    index = spoilt("index")
    edit(index / "model.safetensors.index.json", weight_map={"a": "../model.safetensors"})
    fails("convert", index, *to, holds="no index of shards")
    pickled = spoilt("pickled")
    for path in [*pickled.glob("*.safetensors"), pickled / "model.safetensors.index.json"]:
        path.unlink()
    fails("convert", pickled, *to, holds="holds neither")
    (pickled / "pytorch_model.bin").write_bytes(b"")
    fails("convert", pickled, *to, holds="pickles, which can run programs and are never read")
    shape = spoilt("shape")
    text = json.loads((shape / "config.json").read_text())["text_config"]
    edit(shape / "config.json", text_config=text | {"ffn_dim": 25})
    fails("convert", shape, *to, holds="but config.json makes it (25, 20)")
    layers = spoilt("layers")
    edit(layers / "config.json", text_config=text | {"num_hidden_layers": 3})
    fails("convert", layers, *to, holds="is missing from the weights")
    edit(layers / "config.json", text_config=text | {"num_hidden_layers": 1})
    fails("convert", layers, *to, holds="weights that its model does not have")
    edit(layers / "config.json", text_config=text, image_token_index=None)
    fails("convert", layers, *to, holds="names no image_token_index")
    edit(layers / "config.json", text_config=text | {"num_hidden_layers": "many"}, image_token_index=IMAGE)
    fails("convert", layers, *to, holds="transformers does not accept it")
    words = spoilt("words")
    (words / "tokenizer.json").write_text('{"model": 3}')
    fails("convert", words, *to, holds="its tokenizer cannot be read")
    fails("convert", words, "--to", tmp_path / "new" / "deep" / "ours", holds="its tokenizer cannot be read")
    fails("convert", good, "--to", gap, holds="exists already")


def test_what_our_modules_are_not_is_refused(saved, tmp_path, fails):
    _, folder = saved("idefics", words=True)
    config, to = json.loads((folder / "config.json").read_text()), ["--to", tmp_path / "ours"]
    for changes, words in (
        ({"hidden_act": "gelu"}, "SwiGLU"), ({"use_resampler": False}, "without a Perceiver resampler"),
        ({"cross_layer_interval": 3}, "expected a multiple of cross_layer_interval 3"),
        ({"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}}, "of type linear"),
    ):  # fmt: skip
        edit(folder / "config.json", **changes)
        fails("convert", folder, *to, holds=words)
        (folder / "config.json").write_text(json.dumps(config))
    tokenizer("opt").save_pretrained(folder)
    fails("convert", folder, *to, holds="no <image> that the model knows")


def test_a_full_disk_leaves_nothing(saved, tmp_path, fails, monkeypatch):
    def full(tensors, path, metadata):
        Path(path).write_bytes(b"half")
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    _, folder = saved("opt")
    monkeypatch.setattr("safetensors.torch.save_file", full)
    fails("convert", folder, "--to", tmp_path / "ours", holds="No space left on device: free some space")
    assert os.listdir(tmp_path) == ["opt"]


def test_runs_that_cannot_go_back_or_cannot_be_asked_say_so(saved, tmp_path, fails, capsys):
    _, folder = saved("opt")
    run, path = tmp_path / "ours", picture(tmp_path)
    assert main(["convert", str(folder), "--to", str(run)]) == 0
    assert "without a tokenizer" in " ".join(capsys.readouterr().out.split())
    fails("ask", run, "--image", path, "--prompt", "what", holds="came without a tokenizer")
    fails("eval", run, "--task", "naming", holds="has its own tokenizer")
    assert main(["params", str(run)]) == 0
    assert main(["convert", str(saved("retrieval")[1]), "--to", str(tmp_path / "itm")]) == 0
    fails("ask", tmp_path / "itm", "--image", path, holds="a retrieval model writes no text")
    with pytest.raises(ValueError, match="no head for ITG"):
        load(tmp_path / "itm")[0].words_after(torch.ones(1, 2).long(), torch.ones(1, 2).bool(), torch.zeros(1, 5, 24))
    zoo = Path(__file__).parents[2] / "minilmm" / "zoo" / "frozen-nano"
    fails("convert", zoo, "--to", tmp_path / "back", holds="was not converted (its kind is frozen)")
    with open(run / "model.safetensors", "r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x01")
    fails("convert", run, "--to", tmp_path / "back", holds="damaged or replaced")
    fails("ask", run, "--prompt", "what", holds="came without a tokenizer")


def test_what_memory_held_before_does_not_matter():
    """Weights that are not drawn are 0, not what was there: trunc_normal_ draws until all is within its bounds."""
    with parts.ZerosForRandom():
        for draw in (nn.init.trunc_normal_, nn.init.normal_, nn.init.kaiming_uniform_, nn.init.xavier_uniform_):
            assert not draw(torch.full((3, 4), 7.0)).any()
