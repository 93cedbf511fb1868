"""The hub of models: asked once whether it can be reached, so that nothing waits for one that cannot."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

WAIT = 5.0  # seconds that the hub has to answer before only its cache is looked at
T = TypeVar("T")


class HubError(ValueError):
    """A model that is neither a folder nor to be had from the hub; the message is one line."""


def unreachable() -> str:
    """Why the hub cannot be asked, in a few words; "" where it answers. It is asked once, without retries."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    answered: list[bool] = []

    def ask() -> None:
        try:
            get_session().head(constants.ENDPOINT, timeout=WAIT)
        except Exception:  # of whichever client this version of the hub's library has
            return
        answered.append(True)

    asking = threading.Thread(target=ask, daemon=True)  # looking up a name has no time-out of its own
    asking.start()
    asking.join(WAIT)
    return "" if answered else f"{constants.ENDPOINT} cannot be reached"


def fetched(name: str, what: str, load: Callable[[bool], T]) -> T:
    """What `load(local_files_only)` makes of a folder or a hub's name; without the hub, of its cache.

    HubError where it fails: `what` was expected under that name, and why it is not there.
    """
    offline = "" if Path(name).exists() else unreachable()
    try:
        return load(bool(offline) or Path(name).exists())
    except Exception as error:  # of the network, of the hub, of the files, of the tokenizers' own libraries
        if offline and isinstance(error, OSError):
            told = f"{offline}, and the hub's cache does not have it): name a folder, or try again online"
        else:
            told = f"{next(iter(str(error).strip().splitlines()), type(error).__name__)}): check the name"
        raise HubError(f"{name}: no {what} ({told}") from None
