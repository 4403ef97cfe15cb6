"""How much memory a call takes at its worst: the growth of a forked process, so that torch, numpy and BLAS are all seen."""

import ctypes
import gc
import os
import pickle
import re
import traceback
from pathlib import Path

MMAP_THRESHOLD, BYTES = -3, 2**16  # `mallopt`: what is larger than that is given back as soon as it is freed


def is_measurable() -> bool:
    """Whether this system lets a process forget its peak, and tells it."""
    return hasattr(os, "fork") and os.access("/proc/self/clear_refs", os.W_OK) and hasattr(ctypes.CDLL(None), "malloc_trim")


def _peak() -> int:
    (found,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return 1024 * int(found)


def _grown(call, warm_up):
    library = ctypes.CDLL(None)
    library.mallopt(MMAP_THRESHOLD, BYTES)
    warm_up()  # code is loaded when it is first run
    gc.collect()
    library.malloc_trim(0)  # what is free, but still ours, would be taken without a sign
    Path("/proc/self/clear_refs").write_text("5")
    before = _peak()
    call()
    return _peak() - before


def peak_of(call, warm_up=lambda: None) -> int:
    """The bytes by which a process grows in a call; what `warm_up` loads is not counted. The call runs in a fork."""
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            found = _grown(call, warm_up)
        except BaseException as error:
            found = RuntimeError("".join(traceback.format_exception(error)))
        with os.fdopen(into, "wb") as file:
            pickle.dump(found, file)
        os._exit(0)
    os.close(into)
    with os.fdopen(out, "rb") as file:
        content = file.read()
    os.waitpid(child, 0)
    found = pickle.loads(content) if content else RuntimeError("the process died")
    if isinstance(found, RuntimeError):
        raise found
    return found
