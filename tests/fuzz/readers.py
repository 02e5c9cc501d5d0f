"""What reads untrusted files, each as a function of bytes: a file is read, or refused with the reader's own error.

As a program it fuzzes one of them guided by coverage, with atheris: `python tests/fuzz/readers.py NAME CORPUS`, and any
option of libFuzzer behind (`-max_total_time=3600`). It ends with an error, and the input in a file, where a reader
raises anything else, calls what it must not, or takes too much memory.
"""

import contextlib
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

FORBIDDEN = frozenset({
    "pickle.find_class", "subprocess.Popen", "os.system", "os.exec", "os.spawn", "os.posix_spawn", "socket.connect",
    "ctypes.dlopen",
})  # fmt: skip
"""Audit events of running what a file says, and of reaching beyond this process. No reader has a use for them."""

MOST_MEMORY = 1024  # MB, of which Python with NumPy and JAX take a third

Reader = Callable[[bytes], None]


def readers(folder: Path) -> dict[str, Reader]:
    """Name → reader; files that are needed are written into the folder."""
    from bark_jax.convert import ConversionError
    from bark_jax.convert.pickle_data import read_pickle
    from bark_jax.convert.tensors import read_tensors
    from bark_jax.convert.torch_file import CONSTRUCTORS, MENTIONED, read_torch_file
    from bark_jax.voices.errors import VoiceError
    from bark_jax.voices.reading import read_npy, read_voice_file

    def of_files(read: Callable[[Path], Any], suffix: str, refusal: type[Exception]) -> Reader:
        path = folder / f"input{suffix}"

        def check(data: bytes) -> None:
            path.write_bytes(data)
            with contextlib.suppress(refusal):
                read(path)

        return check

    def read_pickled(data: bytes) -> None:
        with contextlib.suppress(ConversionError):
            read_pickle(data, CONSTRUCTORS, lambda identity: identity, MENTIONED)

    def read_all(path: Path) -> None:
        for tensor in read_tensors(path).values():
            tensor.read()

    return {
        "pickle": read_pickled,
        "zip": of_files(read_torch_file, ".pt", ConversionError),
        "torch": of_files(read_all, ".bin", ConversionError),
        "safetensors": of_files(read_all, ".safetensors", ConversionError),
        "npz": of_files(read_voice_file, ".npz", VoiceError),
        "npy": of_files(read_npy, ".npy", VoiceError),
    }


def good_files() -> dict[str, bytes]:
    """Something that each reader accepts, to begin with."""
    import io
    import pickle

    import numpy as np
    import torch
    from safetensors.numpy import save

    table = np.arange(12, dtype=np.float32).reshape(3, 4)
    saved, archive, array = io.BytesIO(), io.BytesIO(), io.BytesIO()
    torch.save({"a.weight": torch.from_numpy(table), "b.weight": torch.ones(2, dtype=torch.float16)}, saved)
    codes = np.arange(16, dtype=np.int32).reshape(8, 2)
    np.savez(archive, semantic_prompt=np.arange(3), coarse_prompt=codes[:2], fine_prompt=codes)
    np.save(array, codes)
    return {
        "pickle": pickle.dumps({"model": {"x": [1, 2.5, "three", (True, None)]}}, protocol=2),
        "zip": saved.getvalue(),
        "torch": saved.getvalue(),
        "safetensors": save({"a": table, "b": codes}),
        "npz": archive.getvalue(),
        "npy": array.getvalue(),
    }


def forbid() -> None:
    """Raise where a forbidden event happens, for the rest of the process."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in FORBIDDEN:
            raise RuntimeError(f"a file made its reader call {event}{arguments!r:.200}")

    sys.addaudithook(hook)


def main(name: str, *options: str) -> None:
    import atheris

    with tempfile.TemporaryDirectory() as folder:
        with atheris.instrument_imports(include=["bark_jax", "convert", "zipfile", "pickletools"]):
            check = readers(Path(folder))[name]
        check(b"")  # so that all that is imported on demand is there
        forbid()
        atheris.Setup([sys.argv[0], f"-rss_limit_mb={MOST_MEMORY}", *options], check)
        atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
