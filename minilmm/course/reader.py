"""The code under study, shown in a notebook from the package itself, so that there is no copy that could drift."""

from __future__ import annotations

import inspect
import sys
import textwrap
from pathlib import Path
from typing import Any

_PACKAGES = Path(__file__).resolve().parents[2]


def source(*objects: Any) -> None:
    """Displays the source of functions, methods, classes or modules as Markdown, each under the name of its file.

    Outside a notebook it prints the same text. ValueError: an object that has no Python source.
    """
    parts, names = [], []
    for thing in objects:
        try:
            thing = inspect.unwrap(thing)
            text, file = textwrap.dedent(inspect.getsource(thing)).rstrip(), Path(inspect.getfile(thing)).resolve()
        except (TypeError, OSError):
            raise ValueError(f"{thing!r}: no Python source: pass a function, method, class or module") from None
        name = file.relative_to(_PACKAGES).as_posix() if file.is_relative_to(_PACKAGES) else file.name
        names.append(f"{thing.__name__} of {name}")
        parts.append(f"`{name}`\n\n```python\n{text}\n```")
    markdown = "\n\n".join(parts)
    if "IPython" in sys.modules and (shell := sys.modules["IPython"].get_ipython()) is not None:
        shell.display_pub.publish({"text/markdown": markdown, "text/plain": f"source: {', '.join(names)}"})
    else:
        print(markdown)
