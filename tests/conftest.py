"""Every test runs with strict dtype promotion; the reference data are used where they lie beside the checkout."""

import importlib.util
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax
import pytest
from hypothesis import settings

jax.config.update("jax_numpy_dtype_promotion", "strict")
settings.register_profile("steady", derandomize=True, deadline=None)  # the same examples in every run
settings.load_profile("steady")

TESTS = Path(__file__).parent
IO = (  # beginnings of paths: processes, disks, sockets, whole commands, training runs, and what compiles for long
    "test_convolution", "test_engine", "test_hooks", "test_initialisers", "test_kernels", "test_lowering",
    "test_pure_stages", "fuzz/", "test_cli", "test_hub", "test_loading", "test_compile_cache", "test_sharding",
    "test_offload", "test_bench", "test_noise", "test_suno", "convert/test_convert_cli", "convert/test_export",
    "convert/test_formats", "training/", "speech/test_resuming", "speech/test_speech", "speech/test_ranking",
    "speech/test_streaming", "hearing/", "bulk/", "serving/", "parity/test_hubert",
)  # fmt: skip

if importlib.util.find_spec("torch") is None:  # the newest versions are tested without it
    collect_ignore = ["parity", "convert", "test_benchmarks.py"]
if importlib.util.find_spec("fastapi") is None:  # nor with what only the server needs
    collect_ignore = [*globals().get("collect_ignore", ()), "serving"]


@pytest.hookimpl(tryfirst=True)  # before -m deselects
def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    for item in items:
        if TESTS in item.path.parents and item.path.relative_to(TESTS).as_posix().startswith(IO):
            item.add_marker(pytest.mark.io)


@pytest.fixture(autouse=True)
def no_compile_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands that run in the tests' own process leave the user's cache and JAX's global settings alone."""
    monkeypatch.setattr("bark_jax.compile_cache.enable", lambda folder: False)
    monkeypatch.setattr("bark_jax.compile_cache.disable", lambda: None)


@pytest.fixture(autouse=True)
def library(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an empty library of voices, in place of the user's."""
    folder = tmp_path_factory.mktemp("data") / "voices"
    monkeypatch.setattr("bark_jax.voices.library.library_folder", lambda: folder)
    return folder


@pytest.fixture
def ctrl_c_is_heard() -> Iterator[None]:
    """Also where the tests run in the background of a shell that has Ctrl-C ignored there."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real configs, tokenizer, voices and speech; a clone without it skips the tests that need it."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the reference data are not beside this checkout")
    return folder
