"""Compiled programs kept on disk: a second process loads what the first one compiled.

This is JAX's persistent compilation cache with limits under which every program is kept. An entry is found by its
program, the versions of JAX and of the driver, the device and, on a CPU, its instruction set, so machines of different
kinds may share a folder. Whoever may write to it can make its readers run anything: share it with people you trust.
"""

import tempfile
import warnings
from pathlib import Path
from typing import Any

import jax
from filelock import FileLock
from jax.experimental.compilation_cache import compilation_cache
from platformdirs import user_cache_path

MAX_BYTES = 2**30  # of compressed programs; those unused for the longest time make room for new ones

_LOCK = ".lockfile"  # JAX's, in every cache with a limit
_PATIENCE = 10  # seconds that another process may hold it
_PROBE = 2**20  # bytes, more than a large program needs


class CompileCacheUnavailable(UserWarning):
    """The folder for compiled programs cannot be used; everything runs, but is compiled again in each process."""


def default_folder() -> Path:
    """Where the command line keeps compiled programs, in the user's cache folder."""
    return user_cache_path("bark-jax", appauthor=False) / "programs"


def enable(folder: Path | None = None) -> bool:
    """Keep all that this process compiles from now on, and look there first; whether that is possible.

    folder: one of its own, by default `default_folder()`; it is made, and may be moved or deleted at any time. It holds
    at most `MAX_BYTES`. Changes JAX's settings for the whole process. Warns with CompileCacheUnavailable when the
    folder cannot be written to.
    """
    folder = folder or default_folder()
    try:
        _prepare(folder)
    except OSError as error:
        message = f"compiled programs cannot be kept in {folder}: {error.strerror or error}"
        warnings.warn(message, CompileCacheUnavailable, stacklevel=2)
        return False
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_compilation_cache_max_size", MAX_BYTES)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    # XLA's own caches have no limit, and their path is part of what a program is found by.
    jax.config.update("jax_persistent_cache_enable_xla_caches", "none")
    compilation_cache.reset_cache()  # else a folder that is in use already stays
    return True


def choose(cache: bool | str | Path | None) -> None:
    """What a model is loaded with: True for `default_folder()`, a folder, or False to leave JAX's settings alone.

    None, the default: `default_folder()`, unless JAX's cache has a folder already or is turned off, by the environment
    (JAX_COMPILATION_CACHE_DIR, JAX_ENABLE_COMPILATION_CACHE=0), by the program, or by `disable()`. JAX has one cache
    for the whole process, so all that is compiled after this is kept there, also by others.
    """
    settings: Any = jax.config  # its attributes are made at run time
    if cache is None:
        cache = settings.jax_enable_compilation_cache and not settings.jax_compilation_cache_dir
    if cache is not False:
        enable(default_folder() if cache is True else Path(cache))


def disable() -> None:
    """Compile everything again and keep nothing, also where JAX's environment variables name a folder."""
    jax.config.update("jax_enable_compilation_cache", False)


def current_folder() -> Path | None:
    """Where this process keeps compiled programs now, if it does."""
    settings: Any = jax.config  # its attributes are made at run time
    folder = settings.jax_compilation_cache_dir if settings.jax_enable_compilation_cache else None
    return Path(folder) if folder else None


def _prepare(folder: Path) -> None:
    """Make the folder, see that it can be written to, and remove what a killed process left half written."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as probe:
        probe.write(bytes(_PROBE))
    bounded = (folder / _LOCK).exists()
    with FileLock(folder / _LOCK, timeout=_PATIENCE):
        # JAX writes the time of use after the program, and fails to make room where there is none.
        for program in folder.glob("*-cache"):
            time_of_use = program.with_name(program.name.removesuffix("cache") + "atime")
            if not time_of_use.exists() and bounded:
                program.unlink(missing_ok=True)
            elif not time_of_use.exists():  # the folder was a cache without a limit, which keeps no times
                time_of_use.write_bytes(bytes(8))
