"""Peak memory of a call: the growth of a forked process, which includes torch, numpy and BLAS."""

import ctypes
import gc
import os
import pickle
import re
import traceback
from pathlib import Path

MMAP_THRESHOLD, BYTES = -3, 2**16  # `mallopt`: larger blocks return to the system as soon as they are freed


def can_measure_memory() -> bool:
    """True if this system reports the peak of a process, and can reset it."""
    return hasattr(os, "fork") and os.access("/proc/self/clear_refs", os.W_OK) and hasattr(ctypes.CDLL(None), "malloc_trim")


def read_peak() -> int:
    (kilobytes,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return 1024 * int(kilobytes)


def measure_growth(call, warm_up):
    library = ctypes.CDLL(None)
    library.mallopt(MMAP_THRESHOLD, BYTES)
    warm_up()  # loads code that is loaded at its first use
    gc.collect()
    library.malloc_trim(0)  # otherwise the call could use free blocks of this process without growth
    Path("/proc/self/clear_refs").write_text("5")
    before = read_peak()
    call()
    return read_peak() - before


def measure_memory(call, warm_up=lambda: None) -> int:
    """The bytes by which a forked process grows in a call; memory that `warm_up` needs is not counted."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            result = measure_growth(call, warm_up)
        except BaseException as error:
            result = RuntimeError("".join(traceback.format_exception(error)))
        with os.fdopen(write_end, "wb") as file:
            pickle.dump(result, file)
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as file:
        content = file.read()
    os.waitpid(child, 0)
    result = pickle.loads(content) if content else RuntimeError("the process died")
    if isinstance(result, RuntimeError):
        raise result
    return result
