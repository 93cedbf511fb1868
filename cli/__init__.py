"""The command line: one file per group of commands; everything heavy is imported where it is used."""

import os
import signal
import threading
from types import FrameType


def stop(number: int, frame: FrameType | None) -> None:
    """Ctrl-C: an ordinary interrupt, but while modules are imported the end, at once.

    torch's C++ does not survive an exception in the middle of its own import, and nothing was written by then.
    """
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            os.write(2, b"stopped\n")
            os._exit(130)
        frame = frame.f_back
    raise KeyboardInterrupt


here = threading.current_thread() is threading.main_thread()
if here and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, stop)
