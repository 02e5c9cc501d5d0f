"""Compiled programs on disk: who compiles, where it is kept, and what happens when that is not possible."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from jax.experimental.compilation_cache.compilation_cache import reset_cache

from bark_jax import Bark, compile_cache
from bark_jax.checkpoint import CheckpointError
from bark_jax.cli import main
from bark_jax.compile_cache import CompileCacheUnavailable, current_folder, default_folder, enable

MISS = "PERSISTENT COMPILATION CACHE MISS"


@pytest.fixture
def settings() -> Iterator[None]:
    """JAX's settings, put back afterwards."""
    prefixes = ("jax_compilation_cache_", "jax_persistent_cache_", "jax_enable_compilation_cache")
    before = {name: value for name, value in jax.config.values.items() if name.startswith(prefixes)}
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    reset_cache()


def compile_anew(number: int) -> None:
    """Compile a program that no other test has compiled."""
    jax.jit(lambda x: jnp.tanh(x) * number)(jnp.ones(3)).block_until_ready()


def programs(folder: Path) -> set[str]:
    return {file.name for file in folder.glob("*-cache")}


def say(text: str, seed: int, folder: Path) -> str:
    """Standard error of the command in a process of its own, with what JAX says about its cache."""
    command = [sys.executable, "-m", "bark_jax", "say", text, "-o", str(folder.parent / "a.wav"), "--seed", str(seed)]
    command += ["--model", "random:tiny", "--max-seconds", "0.2", "--compile-cache", str(folder)]
    environment = os.environ | {"JAX_EXPLAIN_CACHE_MISSES": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stderr


def test_a_second_process_compiles_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "programs"
    first = say("Hello", 1, folder)
    assert MISS in first
    assert f"compiled programs are kept in {folder}" in first
    kept = programs(folder)
    assert kept
    second = say("Something else", 2, folder)
    assert MISS not in second
    assert str(folder) not in second
    assert programs(folder) == kept


@pytest.mark.parametrize("command", [["say", "Hi"], ["bench"]])
@pytest.mark.parametrize(
    ("switch", "expected"),
    [
        ([], [default_folder()]),
        (["--compile-cache", "elsewhere"], [Path("elsewhere")]),
        (["--no-compile-cache"], []),
    ],
)
def test_the_switch(
    monkeypatch: pytest.MonkeyPatch, command: list[str], switch: list[str], expected: list[Path]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise CheckpointError("seen enough")

    asked: list[Path] = []
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.setattr(compile_cache, "enable", asked.append)
    monkeypatch.setattr(Bark, "from_pretrained", refuse)
    assert main([*command, "--model", "random:tiny", *switch]) == 4
    assert asked == expected


@pytest.mark.usefixtures("settings")
def test_the_current_folder_is_known(tmp_path: Path) -> None:
    jax.config.update("jax_compilation_cache_dir", None)
    assert current_folder() is None
    assert enable(tmp_path / "programs")
    assert current_folder() == tmp_path / "programs"


@pytest.mark.usefixtures("settings")
def test_a_folder_that_cannot_be_used_is_told_and_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    before = jax.config.jax_compilation_cache_dir
    with pytest.warns(CompileCacheUnavailable, match="file/programs"):
        assert not enable(tmp_path / "file" / "programs")
    assert jax.config.jax_compilation_cache_dir == before


@pytest.mark.usefixtures("settings")
def test_the_folder_may_change(tmp_path: Path) -> None:
    for number, name in enumerate(["one", "two"]):
        assert enable(tmp_path / name)
        compile_anew(number)
        assert programs(tmp_path / name)


@pytest.mark.usefixtures("settings")
def test_old_programs_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compile_cache, "MAX_BYTES", 8_000)
    enable(tmp_path)
    seen: set[str] = set()
    for number in range(2, 8):
        compile_anew(number)
        seen |= programs(tmp_path)
    kept = programs(tmp_path)
    assert kept < seen
    assert sum((tmp_path / name).stat().st_size for name in kept) <= 8_000


@pytest.mark.usefixtures("settings")
def test_a_cache_without_a_limit_keeps_its_programs(tmp_path: Path) -> None:
    (tmp_path / "jit_f-0123-cache").write_bytes(b"somebody's program")
    enable(tmp_path)
    compile_anew(10)
    assert "jit_f-0123-cache" in programs(tmp_path)
    assert len(programs(tmp_path)) > 1


@pytest.mark.usefixtures("settings")
def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    """JAX would fail to store anything beside it, and to read it."""
    enable(tmp_path)
    (tmp_path / "jit_f-0123-cache").write_bytes(b"half a prog")
    enable(tmp_path)
    compile_anew(9)
    assert "jit_f-0123-cache" not in programs(tmp_path)
    assert programs(tmp_path)


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize(
    ("of_jax", "choice", "expected"),
    [
        ({}, None, [default_folder()]),
        ({}, True, [default_folder()]),
        ({}, False, []),
        ({}, "elsewhere", [Path("elsewhere")]),
        ({"jax_compilation_cache_dir": "of the user"}, None, []),
        ({"jax_compilation_cache_dir": "of the user"}, True, [default_folder()]),
        ({"jax_enable_compilation_cache": False}, None, []),
        ({"jax_enable_compilation_cache": False}, False, []),
    ],
)
def test_a_model_brings_its_cache_unless_jax_has_one(
    monkeypatch: pytest.MonkeyPatch, of_jax: dict[str, object], choice: bool | str | None, expected: list[Path]
) -> None:
    asked: list[Path] = []
    monkeypatch.setattr(compile_cache, "enable", asked.append)
    for name, value in ({"jax_compilation_cache_dir": None, "jax_enable_compilation_cache": True} | of_jax).items():
        jax.config.update(name, value)
    Bark.from_pretrained("random:tiny", compile_cache=choice)
    assert asked == expected


FROM_PYTHON = """
import sys
from pathlib import Path
from bark_jax import Bark
bark = Bark.from_pretrained("random:tiny", compile_cache=Path(sys.argv[1]))
bark.warm_up()
"""


def test_from_python_a_second_process_compiles_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "programs"
    environment = os.environ | {"JAX_EXPLAIN_CACHE_MISSES": "1", "XLA_FLAGS": "--xla_backend_optimization_level=0"}
    said = [
        subprocess.run(
            [sys.executable, "-c", FROM_PYTHON, str(folder)],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stderr
        for _ in range(2)
    ]
    assert MISS in said[0]
    assert MISS not in said[1]
    assert programs(folder)
