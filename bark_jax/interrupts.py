"""Reliable KeyboardInterrupt handling, for commands."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def remembering_ctrl_c() -> Iterator[Callable[[], None]]:
    """In this block Ctrl-C raises KeyboardInterrupt; the function it yields raises it again if it was lost.

    An exception is lost in a callback of the garbage collector, of which JAX has one, and where native code discards
    it: 2 of 48 interrupts of a compiling stage. Changes Python's handling of signals and of lost exceptions for the
    whole process, so it is for the command line, not for the library. Where Ctrl-C is ignored or handled otherwise, it
    stays so.
    """
    interrupted = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        interrupted = True
        signal.default_int_handler(number, frame)

    def raise_again() -> None:
        if interrupted:
            raise KeyboardInterrupt

    ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not ours or threading.current_thread() is not threading.main_thread():
        yield raise_again
        return
    report = sys.unraisablehook
    signal.signal(signal.SIGINT, interrupt)
    sys.unraisablehook = lambda lost: None if lost.exc_type is KeyboardInterrupt else report(lost)
    try:
        yield raise_again
    finally:
        sys.unraisablehook = report
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def noticing_ctrl_c(tell: Callable[[], None]) -> Iterator[Callable[[], bool]]:
    """In this block the first Ctrl-C only calls `tell`; the function it yields says whether there was one.

    The second one raises KeyboardInterrupt. Where Ctrl-C is ignored or handled otherwise, it stays so.
    """
    noticed = False

    def notice(number: int, frame: FrameType | None) -> None:
        nonlocal noticed
        noticed = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
        tell()

    ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not ours or threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    signal.signal(signal.SIGINT, notice)
    try:
        yield lambda: noticed
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
