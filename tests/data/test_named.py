"""Pictures with names: what is learned of them, what is asked, what never shows; bad folders are one line."""

import struct
import warnings
import zlib
from dataclasses import replace

import pytest
import torch
from PIL import Image
from tokenizers import pre_tokenizers

from minilmm.checkpoints import assets, smollm2
from minilmm.checkpoints.assets import AssetError
from minilmm.data import emoji, named, photographs
from minilmm.data.folder import BadFolder
from minilmm.data.pictures import BadPicture
from minilmm.evaluation.fewshot import Request, evaluate
from minilmm.evaluation.prompts import prompts
from minilmm.evaluation.tasks import Settings, real_task
from minilmm.frozen import Frozen, FrozenConfig
from minilmm.language import CausalLM, LMConfig
from minilmm.vision import VisionConfig
from minilmm.world.grammar import ABSENT
from minilmm.world.vocabulary import TEST_NAMES, TRAIN_NAMES

ALPHABET = sorted(pre_tokenizers.ByteLevel.alphabet())
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
HERE = all(assets.state(name) == "here" for name in assets.GROUPS["emoji"])


@pytest.fixture
def words(tmp_path):
    """A byte-level tokenizer without an asset."""
    fields = {
        "tokenizer.ggml.tokens": [*SPECIALS, *ALPHABET],
        "tokenizer.ggml.token_type": [3] * 3 + [1] * 256,
        "tokenizer.ggml.merges": [],
    }
    return smollm2.tokenizer_of(smollm2.tokenizer_json(fields))


@pytest.fixture
def things():
    """Forty things by two vendors, a quarter of them held out; each is one colour, darker by the second vendor."""
    n = 40
    colour = torch.randint(0, 200, (1, n, 3, 1, 1), generator=torch.Generator().manual_seed(0))
    pixels = torch.cat([colour + 40, colour]).expand(-1, -1, -1, 12, 12).to(torch.uint8)
    return named.Named([f"thing {i}" for i in range(n)], ("light", "dark"), pixels, torch.arange(n) % 4 == 0)


def tiny_frozen(words):
    torch.manual_seed(0)
    lm = LMConfig(len(words), width=32, layers=1, heads=4, kv_heads=4, hidden=32)
    eyes = VisionConfig("vit", 12, patch=6, vit_width=16, layers=1, heads=2)
    return Frozen(FrozenConfig(lm, eyes, image_id=words.image_token_id)).eval()


def test_captions_learn_the_name_alone(things, words, generator):
    batch = named.captions(things, words)(6, generator)
    assert batch.media.shape == (6, 1, 1, 3, 12, 12) and batch.media_mask.all()
    for ids, learn in zip(batch.ids, batch.loss_mask, strict=True):
        said = words.decode(ids[learn].tolist())
        number = int(said.removeprefix(" thing ").removesuffix(".<EOC>"))
        assert number % 4 != 0  # nothing held out
        assert words.decode(ids.tolist()) == f"<|im_start|>Picture:<image> Name:{said}"
    assert tiny_frozen(words)(batch).isfinite().all()


def test_pages_learn_a_made_up_name_from_its_second_time(things, words, generator):
    batch = named.pages(things, words, ways=2, shots=2)(4, generator)
    assert batch.media.shape[:2] == (4, 5)
    for ids, learn in zip(batch.ids, batch.loss_mask, strict=True):
        parts = words.decode(ids.tolist()).split("Picture:<image> Name: ")[1:]
        names = [part.removesuffix(".<EOC>") for part in parts]
        assert len(names) == 5 and len(set(names)) == 2 and set(names) <= set(TRAIN_NAMES)
        wanted = "".join(f" {n}.<EOC>" if n in names[:i] else ".<EOC>" for i, n in enumerate(names))
        assert words.decode(ids[learn].tolist()) == wanted
    real = named.pages(things, words, nonsense=False)(2, generator)
    assert "thing" in words.decode(real.ids[0][real.loss_mask[0]].tolist())


@pytest.mark.parametrize("split", ["held-out", "train"])
def test_episodes_ask_across_vendors(things, words, generator, split):
    settings = Settings(shots=2, ways=3, split=split)
    drawn = real_task("naming", things, words).sample(8, generator, settings)
    media = drawn.paint(generator, 12)
    batch = prompts(drawn, media, "real", generator, tokenizer=words)
    assert media.shape == (8, 7, 1, 3, 12, 12) and drawn.candidates.shape[:2] == (8, 3)
    names = TRAIN_NAMES if split == "train" else TEST_NAMES
    for b in range(8):
        said = words.decode(batch.ids[b].tolist())
        assert said.startswith("<|im_start|>Picture:<image> Name: ") and said.endswith(".<EOC>Picture:<image> Name:")
        told = [part.split(".")[0] for part in said.split("Name: ")[1:]]
        assert len(told) == 6 and len(set(told)) == 3 and set(told) <= set(names)
        options = [words.decode([i for i in row.tolist() if i != ABSENT]) for row in drawn.candidates[b]]
        assert {o.strip().removesuffix(".<EOC>") for o in options} == set(told)
        answer = words.decode([i for i in drawn.answers[b].tolist() if i != ABSENT])
        assert answer == options[int(drawn.target[b])]
        here = drawn.candidates[b] != ABSENT
        assert bool((here.int().diff(dim=1) <= 0).all())  # padded on the right


def test_the_query_is_by_another_vendor_and_of_the_right_thing(things, words, generator, monkeypatch):
    monkeypatch.setattr(named, "jitter", lambda pixels, generator: pixels)
    settings = Settings(shots=1, ways=4, names="real")
    drawn = real_task("naming", things, words).sample(16, generator, settings)
    table = (things.pictures[:, :, :, 0, 0].float() / 255).flatten(0, 1)  # (V N, 3)
    seen = drawn.paint(generator, 12)[:, :, 0, :, 0, 0]  # (B, m, 3)
    which = (seen[:, :, None] - table).abs().sum(-1).argmin(-1)
    vendor, thing = which // 40, which % 40
    assert bool((vendor[:, :-1] != vendor[:, -1:]).all()) and bool((thing % 4 == 0).all())
    for b in range(16):
        answer = words.decode([i for i in drawn.answers[b].tolist() if i != ABSENT])
        assert answer == f" thing {int(thing[b, -1])}.<EOC>" and thing[b, -1] in thing[b, :-1]


def test_the_harness_scores_episodes_of_another_tokenizer(things, words):
    task = real_task("naming", things, words)
    for settings in (Settings(ways=2), Settings(ways=2, induction=True, repeats=1)):
        result = evaluate(tiny_frozen(words), task, Request((0, 1), settings, episodes=20))
        assert result["chance"] == 0.5 and len(result["rows"]) == 8
    blind = CausalLM(LMConfig(len(words), width=32, layers=1, heads=4, kv_heads=4, hidden=32))
    said = evaluate(blind, task, Request((1,), episodes=4, scoring="generate", conditions=("real",)))
    assert said["rows"][0]["value"] in (0.0, 0.25, 0.5, 0.75, 1.0)
    with pytest.raises(ValueError, match="11 things"):
        real_task("naming", replace(things, held_out=torch.arange(40) < 11), words).sample(
            2, torch.Generator(), Settings(ways=12)
        )


def test_pairs_and_splits(things):
    pictures, names = named.pairs(things, "held-out", "dark")
    assert pictures.shape == (10, 3, 12, 12) and names[:2] == ["thing 0", "thing 4"]
    with pytest.raises(ValueError, match="choose from light, dark"):
        named.pairs(things, "train", "loud")
    with pytest.raises(ValueError, match="choose train or held-out"):
        things.rows("test")


def test_jitter_moves_and_shrinks_but_cuts_nothing(generator):
    picture = torch.ones(20, 3, 40, 40)
    picture[:, :, 4:36, 4:36] = 0
    moved = named.jitter(picture, generator)
    ink = (1 - moved).sum((1, 2, 3)) / (1 - picture).sum((1, 2, 3))
    assert bool((ink > 0.6).all()) and bool((ink < 1.01).all()) and float(ink.std()) > 0.02
    assert moved[:, :, [0, -1]].min() > 0.9 and moved[..., [0, -1]].min() > 0.9


@pytest.mark.skipif(not HERE, reason="assets missing: minilmm assets get emoji")
def test_emoji(generator):
    data = emoji.load(32)
    assert 750 < len(data.names) < 850 and data.pictures.shape == (2, len(data.names), 3, 32, 32)
    assert int(data.held_out.sum()) >= 100 and emoji.load(32) is data
    train, out = ({data.names[i] for i in data.rows(s)} for s in ("train", "held-out"))
    assert not train & out and {"hammer", "tomato", "scissors"} <= train | out
    assert not any("clock face" in name or "symbol" in name.split() for name in data.names)
    flat = data.pictures.float().flatten(2)
    assert bool((flat.std(-1) > 5).all())  # none is empty
    twin = torch.cdist(flat[0] / 255, flat[1] / 255).argmin(1) == torch.arange(len(data.names))
    assert twin.float().mean() > 0.05  # pixels alone find a thing by its other vendor in more than 1 of 800
    with pytest.raises(ValueError, match="unknown vendor"):
        emoji.load(16, ("twemoji", "acme"))


def test_names_are_said_as_one_would():
    said = {"BLACK SCISSORS": "scissors", "WHITE MEDIUM STAR": "star", "CLOUD": "cloud"}
    assert all(emoji.clean_name(name, 0x2600) == wanted for name, wanted in said.items())
    said = {"FULL MOON SYMBOL": "full moon", "BLACK CAT": "black cat"}
    assert all(emoji.clean_name(name, 0x1F300) == wanted for name, wanted in said.items())
    assert emoji.held_out("foggy") and not emoji.held_out("hammer")  # pinned: the split never moves


# --- photographs ----------------------------------------------------------------------------------------------------


@pytest.fixture
def stamps(tmp_path):
    for i in range(12):
        folder = tmp_path / ("birds" if i % 2 else "food")
        folder.mkdir(exist_ok=True)
        Image.new("RGB", (20, 10), (20 * i, 0, 99)).save(folder / f"a{i}.png")
        (folder / f"a{i}.txt").write_text(f"A bird number {i}.\nfr.utf8=Un oiseau.\n")
    (tmp_path / "symbols").mkdir()
    for name in ("symbols/x", "birds/a1_mirror", "birds/untold"):
        Image.new("RGB", (9, 9), "red").save(tmp_path / f"{name}.png")
        (tmp_path / f"{name}.txt").write_text("" if "untold" in name else "A thing.\n")
    return tmp_path


def test_photographs(stamps, words, generator):
    data = photographs.load(16, stamps)
    assert sorted(data.names) == sorted(f"A bird number {i}" for i in range(12))
    assert data.pictures.shape == (1, 12, 3, 16, 16) and 0 < int(data.held_out.sum()) < 12
    batch = named.captions(data, words, photographs.FORM)(3, generator)
    assert words.decode(batch.ids[0].tolist()).startswith("<|im_start|>Picture:<image> Caption: A bird number")


@pytest.mark.parametrize("harm", ["cut", "text", "bomb", "empty", "directory"])
def test_bad_pictures_are_one_line(stamps, harm):
    path = stamps / "birds" / "a1.png"
    if harm == "cut":
        path.write_bytes(path.read_bytes()[:50])
    elif harm == "text":
        path.write_bytes(b"not a picture")
    elif harm == "bomb":  # a header that claims 60,000 x 60,000 pixels
        head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
        chunks = (b"IHDR" + head, b"IDAT" + zlib.compress(b"\0" * 1000))
        body = [struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks]
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(body))
    elif harm == "empty":
        path.write_bytes(b"")
    else:
        path.unlink()
        path.mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(BadPicture, match=r"a1\.png") as found:
            photographs.load(17, stamps)
    assert "\n" not in str(found.value)


def test_folders_without_stamps(tmp_path, monkeypatch):
    with pytest.raises(BadFolder, match="no such folder"):
        photographs.load(18, tmp_path / "nowhere")
    with pytest.raises(BadFolder, match="no picture with a caption"):
        photographs.load(18, tmp_path)
    elsewhere = replace(assets.SYSTEM["tuxpaint"], place=tmp_path / "nowhere")
    monkeypatch.setitem(assets.SYSTEM, "tuxpaint", elsewhere)
    with pytest.raises(AssetError, match="apt-get install tuxpaint-stamps-default"):
        photographs.load(18)
