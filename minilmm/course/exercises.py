"""The exercises as files: one source each, from which stubs, solutions and known-wrong answers are made."""

import functools
import linecache
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minilmm.course.checking import Check

BEGIN, END = "# BEGIN SOLUTION", "# END SOLUTION"
_BLOCK = re.compile(rf"^(?P<indent>[ ]*){BEGIN}\n.*?^[ ]*{END}\n", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Mutant:
    """A known-wrong answer: the reference solution with some of its text replaced."""

    name: str
    edits: tuple[tuple[str, str], ...]  # (old, new); each old text stands exactly once in the source
    says: str  # told to a learner whose answer equals this one's, after "Your output equals the variant in which"
    caught_by: str  # the check whose failure explains it; others may fail as well


@dataclass(frozen=True)
class Exercise:
    """One entry of `exercises/manifest.toml`."""

    id: str
    name: str  # of its files: ex03_attention
    title: str
    chapter: str
    points: int
    difficulty: int  # 1 to 5
    importance: int  # 1 to 5
    minutes: int
    timeout: float  # seconds of each check
    needs: tuple[str, ...]
    root: Path

    def path(self, folder: str) -> Path:
        """Its file in source, student, checks or mutants; its hints."""
        return self.root / folder / (f"ex{self.id}.md" if folder == "hints" else f"{self.name}.py")

    @functools.cached_property
    def source(self) -> str:
        """The whole source, with the marks around solutions."""
        return _read(self.path("source"))

    @property
    def solution(self) -> str:
        """The reference solution: the source without its marks."""
        return re.sub(rf"^[ ]*({BEGIN}|{END})\n", "", self.source, flags=re.MULTILINE)

    @property
    def stub(self) -> str:
        """What a learner starts from: every solution replaced by a line that raises NotImplementedError."""
        text, count = _BLOCK.subn(lambda m: f'{m["indent"]}raise NotImplementedError("your code here")\n', self.source)
        if not count:
            raise ValueError(f"{self.path('source')}: has no {BEGIN} ... {END}")
        return text

    def mutant(self, mutant: Mutant) -> str:
        """The source of a known-wrong answer. ValueError where a text to replace does not stand exactly once."""
        text = self.solution
        for old, new in mutant.edits:
            if text.count(old) != 1:
                raise ValueError(f"{self.path('mutants')}: {mutant.name}: {old!r} occurs {text.count(old)} times")
            text = text.replace(old, new)
        return text

    @functools.cached_property
    def mutants(self) -> tuple[Mutant, ...]:
        """Its known-wrong answers."""
        return tuple(_run(self.path("mutants"))["MUTANTS"])

    @functools.cached_property
    def checks(self) -> tuple["Check", ...]:
        """Its checks, in the order of the file."""
        return load_checks(self.path("checks"))

    @property
    def hints(self) -> list[str]:
        """Three hints, each more telling than the one before: the sections of the hints file."""
        parts = re.split(r"^## .*\n", _read(self.path("hints")), flags=re.MULTILINE)
        return [part.strip() for part in parts[1:]]


def load_checks(path: Path) -> tuple["Check", ...]:
    """The checks that a file of the course defines."""
    from minilmm.course.checking import Check  # imports torch, which a list of exercises does not need

    return tuple(value for value in _run(path).values() if isinstance(value, Check))


def load_manifest(root: Path) -> list[Exercise]:
    """All exercises under `root`, in order. ValueError: no manifest, or an entry that lacks something."""
    path = root / "manifest.toml"
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8"))["exercise"]
        return [Exercise(**(entry | {"needs": tuple(entry.get("needs", ()))}), root=root) for entry in entries]
    except OSError:
        raise ValueError(f"{path}: missing: run this in a clone of the course") from None
    except (tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from None


def _run(path: Path) -> dict[str, Any]:
    """The names that a trusted file of the course defines; `inspect` knows its text when the file is gone."""
    text, names = _read(path), {"__name__": f"minilmm_course_{path.parent.name}_{path.stem}"}
    linecache.cache[str(path)] = (len(text), None, text.splitlines(True), str(path))
    exec(compile(text, str(path), "exec"), names)
    return names


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        raise ValueError(f"{path}: missing: restore it from the repository") from None
