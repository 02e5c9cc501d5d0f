"""The code blocks of README.md and docs/ are tests: Python, shell and TOML.

A block needs `<!-- skip: next "needs a network" -->` before it where this machine cannot run it. A document's blocks
share one namespace and one temporary folder, and leave the user's files alone.
"""

import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# Programs compiled once for all tests, their processes and later runs: compiling is most of what tests do.
os.environ |= {
    "JAX_COMPILATION_CACHE_DIR": str(Path(__file__).parent / ".pytest_cache" / "programs"),
    "JAX_COMPILATION_CACHE_MAX_SIZE": str(2**31),  # bytes; with a limit, JAX locks the folder
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    "JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES": "none",
}

import jax
import pytest
from sybil import Example, Sybil
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser, SkipParser

_USER_FOLDERS = ("XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")
_TIME = 600  # seconds for one shell block


def _run_shell(example: Example) -> None:
    commands = "\n".join(line.removeprefix("$ ") for line in example.parsed.splitlines())
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        env=os.environ | {"PATH": path}, capture_output=True, text=True, timeout=_TIME, check=False,
    )  # fmt: skip
    if done.returncode:
        raise AssertionError(f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}")


def _parse_toml(example: Example) -> None:
    """A first line such as "# semantic.toml" names the file that later blocks read."""
    tomllib.loads(example.parsed)
    if name := re.match(r"# (\w+\.toml)\n", example.parsed):
        Path(name[1]).write_text(example.parsed, encoding="utf-8")


def _enter(namespace: dict[str, Any]) -> None:
    folder = tempfile.TemporaryDirectory(prefix="documents-", ignore_cleanup_errors=True)
    namespace["_before"] = {name: os.environ.get(name) for name in _USER_FOLDERS}, Path.cwd(), folder
    namespace["_promotion"] = jax.numpy_dtype_promotion("standard")  # the other tests' is strict
    namespace["_promotion"].__enter__()
    os.environ.update(dict.fromkeys(_USER_FOLDERS, folder.name))
    os.chdir(folder.name)


def _leave(namespace: dict[str, Any]) -> None:
    environment, here, folder = namespace["_before"]
    namespace["_promotion"].__exit__(None, None, None)
    os.chdir(here)
    for name, value in environment.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value
    folder.cleanup()


@pytest.hookimpl(tryfirst=True)  # before -m deselects
def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    for item in items:
        if item.path.suffix == ".md":
            item.add_marker(pytest.mark.io)


pytest_collect_file = Sybil(
    parsers=[
        PythonCodeBlockParser(),
        CodeBlockParser("bash", _run_shell),
        CodeBlockParser("toml", _parse_toml),
        SkipParser(),
    ],
    patterns=["README.md", "docs/*.md"],
    setup=_enter,
    teardown=_leave,
).pytest()
