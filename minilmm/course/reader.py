"""What chapters print: code under study, from the package itself so that no copy can drift; scores; sizes."""

import inspect
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

_PACKAGES = Path(__file__).resolve().parents[2]


def source(*objects: Any) -> None:
    """Displays the source of functions, methods, classes or modules as Markdown, each under the name of its file.

    Outside a notebook it prints the same text. ValueError: an object that has no Python source.
    """
    parts, names = [], []
    for thing in map(inspect.unwrap, objects):
        try:
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


def score(row: Mapping[str, Any]) -> str:
    """A result's row with its interval, as "0.94 (0.89 to 0.98)"."""
    return f"{row['value']:.2f} ({row['low']:.2f} to {row['high']:.2f})"


def size(*parts: nn.Module) -> str:
    """The number of parameters of the parts together, in thousands, as "920k"."""
    return f"{sum(p.numel() for part in parts for p in part.parameters()) / 1e3:.0f}k"


def at(result: Mapping[str, Any], shots: int, condition: str = "real") -> Mapping[str, Any]:
    """A result's row at a number of shots, under a condition. LookupError: it has none."""
    for row in result["rows"]:
        if (row["shots"], row["condition"]) == (shots, condition):
            return row
    raise LookupError(f"no row with {shots} shots and {condition}")
