"""Is a model of transformers within reach? Asked once, before anything waits for a hub that cannot be reached."""

from __future__ import annotations

import threading
from pathlib import Path


def check_within_reach(name: str, seconds: float = 4.0) -> None:
    """ValueError where OWNER/NAME is neither in the hub's cache nor to be had from the hub, asked once.

    Where the hub is out of reach, what is in its cache is read without asking again.
    """
    import urllib.error
    import urllib.request

    from huggingface_hub import constants

    if Path(name).exists():
        return
    found: list[bool] = []

    def ask() -> None:
        try:
            urllib.request.urlopen(constants.ENDPOINT, timeout=seconds).close()
        except urllib.error.HTTPError:
            pass  # it answered
        except OSError:
            return
        found.append(True)

    if not constants.HF_HUB_OFFLINE:
        asking = threading.Thread(target=ask, daemon=True)  # looking up a name has no time-out of its own
        asking.start()
        asking.join(seconds)
    if found:
        return
    constants.HF_HUB_OFFLINE = True
    if not (Path(constants.HF_HUB_CACHE) / f"models--{name.replace('/', '--')}").is_dir():
        away = f"not from the hub ({constants.ENDPOINT} is out of reach)"
        raise ValueError(f"{name}: no run and no folder of that name, and {away}: check the name, or the network")
