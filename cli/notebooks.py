"""`minilmm notebooks`: build them from their sources, and run them again to see that their outputs hold."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from .common import out_console

Chapters = Annotated[list[str] | None, typer.Argument(metavar="[NN]...", help="Chapters, such as 03.")]


def build(
    chapters: Chapters = None,
    every: Annotated[bool, typer.Option("--all", help="Build also those whose source has not changed.")] = False,
) -> int:
    """Execute sources afresh and write their notebooks: the chapters named, or all that changed."""
    from minilmm.course import course_root, notebooks

    console = out_console()
    chosen = notebooks.sources(course_root("notebooks/src"), chapters)
    chosen = [source for source in chosen if chapters or every or not notebooks.fresh(source)]
    if not chosen:
        console.print("every notebook is built from its source as it is now")
    failed = 0
    for source in chosen:
        start = time.perf_counter()
        try:
            wrong = notebooks.build(source)
        except notebooks.BuildError as error:
            console.print(f"{_name(source)}: not built: {error}", markup=False, soft_wrap=True)
            failed += 1
            continue
        size = notebooks.pair(source).stat().st_size
        told = f"{_name(source)}: {time.perf_counter() - start:.0f} s, {size / 1000:.0f} kB"
        console.print(told, markup=False, soft_wrap=True)
        for problem in wrong:
            console.print(f"  {problem}", markup=False, soft_wrap=True)
        failed += bool(wrong)
    return int(failed > 0)


def run(chapters: Chapters = None) -> int:
    """Run notebooks again and compare every output with the one that they show (strict nbval)."""
    from minilmm.course import course_root, notebooks

    console, code = out_console(), 0
    for source in notebooks.sources(course_root("notebooks/src"), chapters):
        start = time.perf_counter()
        path = notebooks.pair(source)
        if not path.is_file():
            raise ValueError(f"{path.name}: not built yet: run minilmm notebooks build {source.stem[:2]}")
        failed, said = notebooks.verify(path)
        if failed:
            console.print(said, markup=False, soft_wrap=True)
        result = "outputs differ" if failed else "every output is the same"
        console.print(f"{path.name}: {result}, {time.perf_counter() - start:.0f} s", markup=False, soft_wrap=True)
        code = max(code, failed)
    return code


def _name(source: Path) -> str:
    return source.stem
