"""Pictures of every kind become one square tensor; bad files and folders fail in one clear line; splits do not leak."""

import hashlib
import importlib.util
import itertools
import json
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from minilmm.checkpoints import assets
from minilmm.data import easy_vqa
from minilmm.data.folder import BadFolder, folder_documents, read_folder, split_folder
from minilmm.data.pictures import BadPicture, fingerprint, load_picture, load_pixels
from minilmm.data.world import captioned
from minilmm.interface.document import collate
from minilmm.interface.tokenizer import UnknownWords
from minilmm.world.vocabulary import tokenizer

needs_easy_vqa = pytest.mark.skipif(
    importlib.util.find_spec("easy_vqa") is None,
    reason='the package easy-vqa is missing: pip install "minilmm[easy-vqa]"',
)


def saved(picture, path, **options):
    picture.save(path, **options)
    return path


def centre(path, resolution=9):
    return load_picture(path, resolution)[:, resolution // 2, resolution // 2].tolist()


# --- pictures ---------------------------------------------------------------------------------------------------------


def test_pixels_pass_through_unchanged(tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    path = saved(Image.fromarray(values), tmp_path / "a.png")
    assert torch.equal(load_pixels(path, 12), torch.from_numpy(values).permute(2, 0, 1))
    picture = load_picture(str(path), 5)
    assert picture.shape == (3, 5, 5) and picture.dtype == torch.float and 0 <= picture.min() <= picture.max() <= 1


def test_every_mode_becomes_rgb(tmp_path):
    size, half = (6, 6), 128 / 255
    cases = {
        "rgba": (Image.new("RGBA", size, (255, 0, 0, 0)), [1, 1, 1]),  # what is under full transparency never shows
        "half": (Image.new("RGBA", size, (0, 0, 0, 127)), [half] * 3),
        "la": (Image.new("LA", size, (0, 0)), [1, 1, 1]),
        "grey": (Image.new("L", size, 128), [half] * 3),
        "bits": (Image.new("1", size, 1), [1, 1, 1]),
        "deep": (Image.fromarray(np.full(size, 32896, dtype=np.uint16)), [half] * 3),  # 128 * 257
    }
    for name, (picture, wanted) in cases.items():
        assert centre(saved(picture, tmp_path / f"{name}.png")) == pytest.approx(wanted, abs=0.005), name


def test_transparent_levels(tmp_path):
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 0, 0, 255])
    assert centre(saved(palette, tmp_path / "opaque.png")) == pytest.approx([0, 0, 1])
    assert centre(saved(palette, tmp_path / "p.png", transparency=1)) == pytest.approx([1, 1, 1])
    assert centre(saved(palette, tmp_path / "p.gif", transparency=1)) == pytest.approx([1, 1, 1])
    grey = Image.new("L", (4, 4), 7)
    assert centre(saved(grey, tmp_path / "l.png", transparency=7)) == pytest.approx([1, 1, 1])
    deep = Image.fromarray(np.full((4, 4), 700, dtype=np.uint16))
    assert centre(saved(deep, tmp_path / "deep.png", transparency=700)) == pytest.approx([1, 1, 1])


def test_cmyk_and_exif(tmp_path):
    path = saved(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), tmp_path / "c.jpg")
    assert centre(path) == pytest.approx([1, 0, 0], abs=0.03)
    picture = Image.new("RGB", (16, 16), "red")
    picture.paste("blue", (0, 8, 16, 16))  # blue below
    exif = Image.Exif()
    exif[0x0112] = 3  # to be turned by 180 degrees
    turned = load_picture(saved(picture, tmp_path / "e.jpg", exif=exif, quality=95), 16)
    assert turned[2, 3, 8] > 0.8 and turned[0, 12, 8] > 0.8  # blue above, red below


def test_any_shape_fits_with_the_border_continued(tmp_path):
    assert centre(saved(Image.new("RGB", (1, 1), "lime"), tmp_path / "one.png")) == [0, 1, 0]
    wide = Image.new("RGB", (40, 20), "teal")
    wide.paste("red", (10, 5, 30, 15))
    square = load_pixels(saved(wide, tmp_path / "wide.png"), 40)
    assert square[:, 0, 0].tolist() == [0, 128, 128] == square[:, 39, 20].tolist()
    assert square[:, 20, 20].tolist() == [255, 0, 0] and square[:, 13, 20].tolist() == [0, 128, 128]
    assert load_picture(saved(Image.new("L", (1, 3000)), tmp_path / "thin.png"), 8).shape == (3, 8, 8)
    big = saved(Image.new("RGB", (1200, 900), "purple"), tmp_path / "big.jpg")
    assert load_pixels(big, 16).float().std(dim=(1, 2)).max() < 2


def test_bad_pictures_fail_in_one_line(tmp_path, monkeypatch):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    good = saved(noise, tmp_path / "good.png").read_bytes()
    jpeg = saved(noise, tmp_path / "good.jpg").read_bytes()
    cases = {
        "cut.png": good[: len(good) // 2], "cut.jpg": jpeg[: len(jpeg) // 2], "head.png": good[:20], "empty.png": b"",
        "text.png": b"hello", "flipped.png": good[:100] + bytes(200) + good[300:],
        "postscript.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
    }  # fmt: skip
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BadPicture) as error:
            load_picture(tmp_path / name, 8)
        assert name in str(error.value) and "\n" not in str(error.value) and str(error.value).count(": ") >= 2
    for path in (tmp_path / "absent.png", tmp_path):
        with pytest.raises(BadPicture, match="no such file"):
            load_picture(path, 8)
    with pytest.raises(ValueError, match="at least 1"):
        load_picture(tmp_path / "good.png", 0)
    for limit in (4000, 1000):  # Pillow warns above its limit, and raises above twice the limit: both are refused
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(BadPicture, match=f"good.png: more than {limit:,} pixels: save it smaller"):
            load_picture(tmp_path / "good.png", 8)


def test_fingerprint_sees_pixels_only(tmp_path):
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8))
    first = fingerprint(saved(picture, tmp_path / "a.png", compress_level=0))
    assert first == fingerprint(saved(picture, tmp_path / "b.png", compress_level=9))
    assert first == fingerprint(saved(picture, tmp_path / "c.bmp"))
    assert first != fingerprint(saved(picture.rotate(90), tmp_path / "d.png"))


# --- folders ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    """A folder of three pictures without metadata, one in a subfolder."""
    (tmp_path / "sub").mkdir()
    for name, colour in (("a.png", "red"), ("b.png", "blue"), ("sub/c.png", "teal")):
        Image.new("RGB", (6, 4), colour).save(tmp_path / name)
    return tmp_path


def describe(folder, *entries):
    (folder / "metadata.jsonl").write_text("\n".join(json.dumps(entry) for entry in entries))


def entry(name="a.png", text="a red shape ."):
    return {"file_name": name, "text": text}


def test_folder_documents(folder):
    content = [json.dumps(entry()), "", json.dumps(entry("sub/c.png", " a teal shape . ") | {"extra": 1}), "  "]
    (folder / "metadata.jsonl").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(content).encode())  # BOM, CRLF, blank lines
    assert read_folder(folder) == [(folder / "a.png", "a red shape ."), (folder / "sub/c.png", "a teal shape .")]
    documents = folder_documents(str(folder), tokenizer(), 8)
    image, text = documents[1]
    assert image.pixels.shape == (3, 8, 8) and text.text == "a teal shape . <EOC>" and text.learn
    batch = collate(documents, tokenizer())
    assert tokenizer().decode(batch.ids[0]) == "<bos> <image> a red shape . <EOC>"


def test_unknown_words_of_the_whole_folder_come_at_once(folder):
    describe(folder, entry(text="a crimson zebra"), entry("b.png", "a blue zebra"), entry("sub/c.png", "A Giraffe!"))
    with pytest.raises(UnknownWords) as error:
        folder_documents(folder, tokenizer(), 8)
    assert error.value.words == ["!", "crimson", "giraffe", "zebra"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{file_name: a.png}", "not JSON"),
        ("[1]", "not an object"),
        ("[" * 100_000, "not JSON"),
        (json.dumps({"text": "a"}), '"file_name" must be .* is missing'),
        (json.dumps({"file_name": "b.png"}), '"text" must be .* is missing'),
        (json.dumps(entry("b.png", 3)), '"text" must be a string .* is 3'),
        (json.dumps(entry("b.png", None)), '"text" must be'),
        (json.dumps(entry("b.png", "  ")), '"text" must be a string that is not empty'),
        (json.dumps(entry("d.png")), "no picture 'd.png'"),
        (json.dumps(entry("sub")), "no picture 'sub'"),
        (json.dumps(entry("b.png\0")), "no picture"),
        (json.dumps(entry("../x.png")), "leads out of the folder"),
        (json.dumps(entry("sub/../../x.png")), "leads out of the folder"),
        (json.dumps(entry("/etc/passwd")), "leads out of the folder"),
        (json.dumps(entry("C:\\x.png")), "leads out of the folder"),
        (json.dumps(entry("..\\x.png")), "leads out of the folder"),
        (json.dumps(entry("a.png", "again")), "stands already in line 1"),
        (json.dumps(entry("./a.png", "again")), "stands already in line 1"),
        (json.dumps(entry("b.png", "an <image> of red")), "the text holds <image>"),
    ],
)
def test_bad_lines_are_named(folder, line, reason):
    (folder / "metadata.jsonl").write_text(json.dumps(entry()) + "\n\n" + line)
    with pytest.raises(BadFolder, match=f"metadata.jsonl, line 3: .*{reason}") as error:
        read_folder(folder)
    assert "\n" not in str(error.value)


def test_bad_folders_are_named(folder, tmp_path_factory):
    with pytest.raises(BadFolder, match="write one line per picture"):
        read_folder(folder)
    with pytest.raises(BadFolder, match="no such folder"):
        read_folder(folder / "absent")
    with pytest.raises(BadFolder, match="the folder is empty"):
        read_folder(tmp_path_factory.mktemp("empty"))
    (folder / "metadata.jsonl").write_text("\n \n")
    with pytest.raises(BadFolder, match="no entries"):
        read_folder(folder)
    (folder / "metadata.jsonl").write_bytes(json.dumps(entry()).encode("utf-16"))
    with pytest.raises(BadFolder, match="line 1: not UTF-8"):
        read_folder(folder)


def test_split_is_stable_and_keeps_equal_pictures_together(tmp_path):
    entries = []
    for i in range(60):  # every picture twice, under two names and compressions
        values = np.random.default_rng(i % 30).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(values).save(tmp_path / f"{i:02}.png", compress_level=9 * (i >= 30))
        entries.append(entry(f"{i:02}.png", f"picture {i}"))
    describe(tmp_path, *entries)
    train, test = split_folder(tmp_path, test=0.3)
    assert len(train) + len(test) == 60 and 6 <= len(test) <= 30
    sides = [{fingerprint(path) for path, _ in side} for side in (train, test)]
    assert not sides[0] & sides[1]
    describe(tmp_path, *reversed(entries))
    assert {path for path, _ in split_folder(tmp_path, test=0.3)[1]} == {path for path, _ in test}
    describe(tmp_path, *entries[:40])  # fewer pictures: those that remain keep their side
    assert {path for path, _ in split_folder(tmp_path, test=0.3)[1]} <= {path for path, _ in test}
    for share, side in ((0.0, "test"), (1.0, "training")):
        with pytest.raises(BadFolder, match=f"leave the {side} split empty"):
            split_folder(tmp_path, test=share)


def test_documents_of_one_part(folder):
    names = [f"{i}.png" for i in range(30)]
    for i, name in enumerate(names):
        Image.new("RGB", (2, 2), (i, 0, 0)).save(folder / name)
    describe(folder, *(entry(name) for name in names))
    train, test = (folder_documents(folder, tokenizer(), 4, part=part) for part in ("train", "test"))
    assert (len(train), len(test)) == tuple(map(len, split_folder(folder))) and len(train) + len(test) == 30


# --- easy-vqa ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def train():
    return easy_vqa.load("train", 64)


@pytest.fixture(scope="module")
def test():
    return easy_vqa.load("test", 64)


@needs_easy_vqa
def test_easy_vqa_has_the_sizes_of_its_page_and_the_known_prior(train, test):
    assert (train.images.shape, test.images.shape) == ((4000, 3, 64, 64), (1000, 3, 64, 64))
    assert (len(train), len(test)) == (38_575, 9_673) and train.images.dtype == torch.uint8
    assert len(train.image_index) == len(train.answers) == len(train) and int(test.image_index.max()) == 999
    assert easy_vqa.prior(train, test) == pytest.approx(0.670, abs=0.0005)


@needs_easy_vqa
def test_easy_vqa_shares_no_picture_between_its_splits(train, test):
    prints = [{hashlib.sha256(image.numpy().tobytes()).digest() for image in split.images} for split in (train, test)]
    assert not prints[0] & prints[1]


@needs_easy_vqa
def test_easy_vqa_answers_fit_pictures_words_and_kinds(train, test):
    for split in (train, test):
        for text in {*map(easy_vqa.prompt, split.questions), *split.answers}:
            tokenizer().encode(text)
        answers = {}
        for question, answer in zip(split.questions, split.answers, strict=True):
            answers.setdefault(easy_vqa.kind(question), set()).add(answer)
        assert answers["presence"] == answers["negated"] == {"yes", "no"}
        assert answers["shape"] == {"circle", "rectangle", "triangle"} and len(answers["color"]) == 8
    saturated = {"red": 0, "green": 1, "blue": 2}
    for question, answer, row in zip(test.questions, test.answers, test.image_index.tolist(), strict=True):
        if answer in saturated:  # the picture asked about really has the colour of the answer
            pixels = test.images[row].float()
            others = [c for c in range(3) if c != saturated[answer]]
            assert (pixels[saturated[answer]] - pixels[others].amax(0)).max() > 150, question


@needs_easy_vqa
def test_easy_vqa_documents(test):
    documents = easy_vqa.documents(test, range(12))
    tokens = collate(documents, tokenizer())
    assert tokenizer().decode(tokens.ids[0][tokens.loss_mask[0]]) == f"{test.answers[0]} . <EOC>"
    assert easy_vqa.prompt("what color is the shape?") == "question : what color is the shape ? answer :"
    assert documents[0][0] is documents[1][0]  # the first questions share a picture
    assert torch.equal(documents[0][0].pixels, test.images[0].float() / 255)
    assert easy_vqa.documents(test, torch.tensor([], dtype=torch.long)) == []


def test_easy_vqa_without_its_package(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "easy_vqa", None)
    monkeypatch.setenv("MINILMM_CACHE", str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match=r'pip install "minilmm\[easy-vqa\]"'):
        easy_vqa.load("test", 64)


@needs_easy_vqa
@pytest.mark.skipif(assets.state("easy-vqa") != "here", reason="the asset is missing: minilmm assets get easy-vqa")
def test_easy_vqa_from_the_asset_is_the_package(monkeypatch, test):
    monkeypatch.setitem(sys.modules, "easy_vqa", None)
    found = easy_vqa.load("test", 64)
    assert torch.equal(found.images, test.images) and torch.equal(found.image_index, test.image_index)
    assert (found.questions, found.answers) == (test.questions, test.answers)


def test_kinds():
    asked = ["what color is the circle?", "what is the blue shape?", "is there a circle?", "is there not a red shape?"]
    assert [easy_vqa.kind(question) for question in asked] == ["color", "shape", "presence", "negated"]
    with pytest.raises(ValueError, match="no question of easy-vqa"):
        easy_vqa.kind("how many?")
    with pytest.raises(ValueError, match="splits"):
        pytest.importorskip("easy_vqa", reason="the package easy-vqa is missing")
        easy_vqa.load("validation", 64)  # type: ignore[arg-type]


def test_stage_1_compares_twins_and_knows_which_text_would_do_for_which_picture():
    """Read from the texts alone: full descriptions fit pictures that are described so, captions all that look so."""
    words = tokenizer().decode
    seen = {True: 0, False: 0}
    for seed in range(20):
        images, text, same = captioned(24, torch.Generator().manual_seed(seed), 16)
        said = [words([i for i in row.tolist()[1:] if i]) for row in text]
        assert len(images) == len(said) == len(same) and same.diagonal().all()
        full = ["<EOC>" not in one for one in said]
        for i, j in itertools.product(range(len(said)), repeat=2):
            if full[i] and full[j]:
                assert bool(same[i, j]) == (said[i] == said[j])
            elif full[i] and " and " not in said[i] and " and a " not in said[j]:
                looks = said[i].split()[1:4]  # texture, colour, shape
                assert bool(same[i, j]) == (set(looks) <= set(said[j].split()))
                seen[bool(same[i, j])] += 1
    assert min(seen.values()) > 8
