"""Untrusted files: damaged in every way, they are read or refused; nothing runs, nothing grows."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import strategies as st

from fuzzing import Fuzz
from readers import good_files, readers

NAMES = ("pickle", "zip", "torch", "safetensors", "npz", "npy")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def good() -> dict[str, bytes]:
    return good_files()


@pytest.mark.parametrize("name", NAMES)
def test_damaged_files(name: str, good: dict[str, bytes], folder: Path, fuzz: Fuzz) -> None:
    """Bytes changed, parts cut out, repeated or put elsewhere."""
    read, whole = readers(folder)[name], good[name]
    read(whole)
    places = st.integers(0, len(whole))

    def check(changes: list[tuple[int, bytes]], cut: tuple[int, int], end: int) -> None:
        data = bytearray(whole)
        for place, replacement in changes:
            data[place : place + len(replacement)] = replacement
        part = data[min(cut) : max(cut)]
        read(bytes(data))
        read(bytes(data[:end]))
        read(bytes(data[: min(cut)] + data[max(cut) :]))
        read(bytes(data[:end] + part + data[end:]))

    changes = st.lists(st.tuples(places, st.binary(min_size=1, max_size=8)), max_size=4)
    fuzz(check, examples=60, changes=changes, cut=st.tuples(places, places), end=places)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("atheris") is None, reason="atheris is not installed (it has no wheels for every Python)")
@pytest.mark.parametrize("name", NAMES)
def test_guided_by_coverage(name: str, good: dict[str, bytes], tmp_path: Path) -> None:
    """A bounded run; for a longer one see SECURITY.md."""
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "good").write_bytes(good[name])
    command = [
        sys.executable, str(ROOT / "tests" / "fuzz" / "readers.py"), name, str(tmp_path / "corpus"),
        "-runs=20000", "-seed=1", "-max_total_time=60", f"-artifact_prefix={tmp_path}/",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"JAX_PLATFORMS": "cpu"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
