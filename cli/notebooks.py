"""`minilmm notebooks`: build them from their sources, and run them again to see that their outputs hold."""

import time
from typing import Annotated

import typer

from .console import say

Chapters = Annotated[list[str] | None, typer.Argument(metavar="[NN]...", help="Chapters, such as 03.")]


def build(
    chapters: Chapters = None,
    every: Annotated[bool, typer.Option("--all", help="Build also those whose source has not changed.")] = False,
) -> int:
    """Execute sources afresh and write their notebooks: the chapters named, or all that changed."""
    from minilmm.course import course_root, notebooks

    sources = notebooks.sources(course_root("notebooks/src"), chapters)
    sources = [source for source in sources if chapters or every or not notebooks.is_current(source)]
    failed = False
    for source in sources:
        start = time.perf_counter()
        try:
            problems = notebooks.build(source)
            size = notebooks.pair(source).stat().st_size / 1000
            say(f"{source.stem}: {time.perf_counter() - start:.0f} s, {size:.0f} kB")
            for problem in problems:
                say(f"  {problem}")
            failed |= bool(problems)
        except notebooks.BuildError as error:
            say(f"{source.stem}: not built: {error}")
            failed = True
    if not sources:
        say("every notebook is built from its source as it is now")
    return int(failed)


def run(chapters: Chapters = None) -> int:
    """Run notebooks again and compare every output with the one that they show (strict nbval)."""
    from minilmm.course import course_root, notebooks

    code = 0
    for path in map(notebooks.pair, notebooks.sources(course_root("notebooks/src"), chapters)):
        start = time.perf_counter()
        if not path.is_file():
            raise ValueError(f"{path.name}: not built yet: run minilmm notebooks build {path.stem[:2]}")
        failed, output = notebooks.verify(path)
        if failed:
            say(output)
        result = "outputs differ" if failed else "every output is the same"
        say(f"{path.name}: {result}, {time.perf_counter() - start:.0f} s")
        code = max(code, failed)
    return code
