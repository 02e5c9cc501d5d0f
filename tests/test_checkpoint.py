"""The converted checkpoint: what is written is read, whole or not at all, and nothing else passes for one."""

import dataclasses
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from bark_jax.checkpoint import (
    FORMAT,
    CheckpointError,
    copy_checkpoint,
    is_checkpoint,
    read_config,
    read_network,
    write_checkpoint,
    write_model_folder,
    write_network,
)
from bark_jax.config import NETWORKS, BarkConfig
from bark_jax.models.parameters import ParameterError, abstract_network, fill, parameter_shapes
from bark_jax.models.random_networks import random_networks
from bark_jax.voices.voice import Voice

TINY = BarkConfig.tiny(bias=True)
Tensors = dict[str, np.ndarray]


def make_tensors(config: BarkConfig, name: str) -> Tensors:
    rng = np.random.default_rng(NETWORKS.index(name))
    return {path: rng.standard_normal(shape, np.float32) for path, shape in parameter_shapes(config, name).items()}


def write(folder: Path, config: BarkConfig = TINY, changes: Mapping[str, Any] | None = None, **options: Any) -> None:
    """A checkpoint of `make_tensors`; changes: other tensors for some of the networks."""
    networks = {name: make_tensors(config, name).items() for name in NETWORKS} | dict(changes or {})
    write_checkpoint(folder, config, networks, **{"tokenizer_json": '{"♪": 1}', **options})


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written") / "tiny"
    write(folder)
    return folder


def named_leaves(module: Any) -> Tensors:
    leaves, _ = jax.tree_util.tree_flatten_with_path(module)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


# Writing and reading


def test_a_checkpoint_may_be_written_network_by_network(written: Path, tmp_path: Path) -> None:
    folder = tmp_path / "new"
    write_model_folder(folder, TINY, tokenizer_json='{"♪": 1}')
    assert read_config(folder) == TINY
    for name in NETWORKS:
        with pytest.raises(CheckpointError, match=rf"{name}\.safetensors"):
            read_network(folder, name, TINY)
        assert write_network(folder, name, TINY, make_tensors(TINY, name).items()).parent == folder
    copy_checkpoint(folder, tmp_path / "copy")
    for copy in (folder, tmp_path / "copy"):
        assert {path.name: path.read_bytes() for path in copy.iterdir()} == {
            path.name: path.read_bytes() for path in written.iterdir()
        }
    with pytest.raises(CheckpointError, match="exists already"):
        copy_checkpoint(folder, written)


def test_a_network_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    write_model_folder(tmp_path / "new", TINY, tokenizer_json="{}")
    tensors = make_tensors(TINY, "fine")
    file = write_network(tmp_path / "new", "fine", TINY, tensors.items())
    before = file.read_bytes()
    lacking = list(tensors.items())[1:]
    with pytest.raises(CheckpointError, match="missing"):
        write_network(tmp_path / "new", "fine", TINY, lacking)
    with pytest.raises(CheckpointError, match="there is no folder"):
        write_network(tmp_path / "none", "fine", TINY, tensors.items())
    assert file.read_bytes() == before
    assert {path.name for path in file.parent.iterdir()} == {"config.json", "tokenizer.json", "fine.safetensors"}
    write_network(tmp_path / "new", "fine", TINY, ((path, -tensor) for path, tensor in tensors.items()))
    assert file.read_bytes() != before


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("dtype", "codec_dtype"), [("float32",) * 2, ("bfloat16", "float32"), ("bfloat16",) * 2])
def test_what_is_written_is_read(tmp_path: Path, dtype: str, codec_dtype: str, bias: bool) -> None:
    config, folder = BarkConfig.tiny(bias=bias), tmp_path / "new" / "tiny"
    write(folder, config, dtype=dtype, codec_dtype=codec_dtype)
    assert is_checkpoint(folder)
    assert read_config(folder) == config
    assert (folder / "tokenizer.json").read_text(encoding="utf-8") == '{"♪": 1}'
    for name in NETWORKS:
        stored, used = map(jnp.dtype, (codec_dtype, "float32") if name == "codec" else (dtype, dtype))
        expected = fill(
            abstract_network(config, name),
            {path: x.astype(stored).astype(used) for path, x in make_tensors(config, name).items()},
        )
        network = read_network(folder, name, config)
        jax.tree.map(np.testing.assert_array_equal, network, expected)
        assert {leaf.dtype for leaf in jax.tree.leaves(network)} == {used}


def test_a_copy_has_the_checkpoint_but_no_report_on_it(tmp_path: Path) -> None:
    write(tmp_path / "tiny")
    (tmp_path / "tiny" / "README.md").touch()
    (tmp_path / "tiny" / "report").mkdir()
    copy_checkpoint(tmp_path / "tiny", tmp_path / "copy")
    names = {path.name for path in (tmp_path / "tiny").iterdir()}
    assert {path.name for path in (tmp_path / "copy").iterdir()} == names - {"README.md", "report"}


def test_the_library_reads_the_files(written: Path) -> None:
    for name in NETWORKS:
        tensors = load_file(written / f"{name}.safetensors")
        expected = make_tensors(TINY, name)
        assert tensors.keys() == expected.keys()
        assert all(np.array_equal(tensors[path], expected[path]) for path in expected)


@pytest.mark.parametrize("param_dtype", ["float32", "bfloat16"])
def test_parameters_are_cast_while_reading(written: Path, param_dtype: str) -> None:
    network = read_network(written, "coarse", TINY, param_dtype=param_dtype, dtype="bfloat16")
    expected = make_tensors(TINY, "coarse")["token_embedding"].astype(jnp.dtype(param_dtype))
    np.testing.assert_array_equal(network.token_embedding[...], expected)
    assert network.dtype == network.head.dtype == jnp.bfloat16
    codec = read_network(written, "codec", TINY, param_dtype=param_dtype)
    assert {leaf.dtype for leaf in jax.tree.leaves(codec)} == {jnp.dtype("float32")}


def test_tensors_may_come_in_any_order_and_layout(tmp_path: Path) -> None:
    tensors = make_tensors(TINY, "fine")
    shuffled = [(path, np.asfortranarray(tensors[path])) for path in reversed(tensors)]
    write(tmp_path / "tiny", changes={"fine": shuffled})
    stored = load_file(tmp_path / "tiny" / "fine.safetensors")
    assert all(np.array_equal(stored[path], tensors[path]) for path in tensors)


def test_voices_are_written_under_their_names(tmp_path: Path) -> None:
    fine = np.arange(8 * 3).reshape(8, 3)
    voice = Voice(semantic=np.array([1, 2]), coarse=fine[:2], fine=fine)
    write(tmp_path / "tiny", voices=[("announcer", voice), ("v2/en_speaker_6", voice)])
    for name in ("announcer", "v2/en_speaker_6"):
        np.testing.assert_array_equal(Voice.load(tmp_path / "tiny" / "voices" / f"{name}.npz").fine, fine)


def test_one_tensor_is_in_memory_at_a_time(tmp_path: Path) -> None:
    gpt = dataclasses.replace(TINY.semantic.gpt, layers=24, width=256)
    config = dataclasses.replace(TINY, semantic=dataclasses.replace(TINY.semantic, gpt=gpt))
    shapes = parameter_shapes(config, "semantic")
    lazy = ((path, np.zeros(shape, np.float32)) for path, shape in shapes.items())
    networks = {name: make_tensors(config, name).items() for name in NETWORKS[1:]} | {"semantic": lazy}
    tracemalloc.start()
    write_checkpoint(tmp_path / "wide", config, networks, tokenizer_json="{}")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    largest = max(4 * int(np.prod(shape)) for shape in shapes.values())
    assert (tmp_path / "wide" / "semantic.safetensors").stat().st_size > 20 * largest
    assert peak < 4 * largest


# Whole or not at all


def interrupt(error: BaseException) -> Iterator[tuple[str, np.ndarray]]:
    yield next(iter(make_tensors(TINY, "coarse").items()))
    raise error


def changed(tensors: Tensors, drop: str = "", **add: np.ndarray) -> list[tuple[str, np.ndarray]]:
    return [(path, x) for path, x in tensors.items() if path != drop] + list(add.items())


@pytest.mark.parametrize(
    ("coarse", "message"),
    [
        (changed(make_tensors(TINY, "coarse"), drop="norm.scale"), "norm.scale missing"),
        (changed(make_tensors(TINY, "coarse"), extra=np.zeros(3)), r"extra \(3,\)"),
        (changed(make_tensors(TINY, "coarse"), position_embedding=np.zeros((1024, 32))), "position_embedding"),
        (changed({}, token_embedding=np.zeros((32, 336))), r"token_embedding \(32, 336\)"),
        (interrupt(OSError(errno.ENOSPC, "No space left on device")), "cannot write .*tiny: .*No space left"),
        (interrupt(CheckpointError("the source is broken")), "the source is broken"),
    ],
    ids=["missing", "unknown", "twice", "misshapen", "disk full", "source"],
)
def test_a_failure_leaves_nothing(tmp_path: Path, coarse: Any, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        write(tmp_path / "tiny", changes={"coarse": coarse})
    assert not any(tmp_path.iterdir())


def test_an_interrupt_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "tiny", changes={"coarse": interrupt(KeyboardInterrupt())})
    assert not any(tmp_path.iterdir())


def test_a_killed_run_leaves_nothing_that_looks_finished(tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    code = (
        "import os, signal, pathlib; from bark_jax.checkpoint import *\n"
        "from bark_jax.config import NETWORKS, BarkConfig\n"
        "def killed(): os.kill(os.getpid(), signal.SIGKILL); yield\n"
        f"write_checkpoint(pathlib.Path({str(folder)!r}), BarkConfig.tiny(),"
        " dict.fromkeys(NETWORKS, killed()), tokenizer_json='{}')"
    )
    root = Path(__file__).resolve().parents[1]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == -signal.SIGKILL
    [partial] = tmp_path.iterdir()
    assert partial.name.startswith(".tiny.partial-")
    assert not is_checkpoint(partial)
    write(folder)
    assert is_checkpoint(folder)


def test_what_a_killed_run_left_is_removed_after_a_day(tmp_path: Path) -> None:
    folders = {name: tmp_path / name for name in (".out.partial-0ld", ".out.partial-young", ".other.partial-0ld")}
    for name, folder in folders.items():
        folder.mkdir()
        (folder / "codec.safetensors").touch()
        if "0ld" in name:
            os.utime(folder, (0, time.time() - 25 * 60 * 60))
    write(tmp_path / "out")
    assert {name for name, folder in folders.items() if folder.exists()} == {".out.partial-young", ".other.partial-0ld"}


def test_of_two_writers_one_wins(tmp_path: Path) -> None:
    both_started, losers = threading.Barrier(2), []

    def late() -> Iterator[tuple[str, np.ndarray]]:
        both_started.wait(timeout=30)
        yield from make_tensors(TINY, "codec").items()

    def run() -> None:
        try:
            write(tmp_path / "tiny", changes={"codec": late()})
        except CheckpointError as error:
            losers.append(error)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(losers) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]
    read_network(tmp_path / "tiny", "codec", TINY)


def test_an_existing_folder_is_kept(written: Path, tmp_path: Path) -> None:
    before = (written / "semantic.safetensors").stat()
    with pytest.raises(CheckpointError, match="exists already: delete it"):
        write(written)
    assert (written / "semantic.safetensors").stat() == before
    (tmp_path / "empty").mkdir()
    write(tmp_path / "empty")
    assert is_checkpoint(tmp_path / "empty")


def test_too_little_space_is_noticed_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(9e9, 9e9, 1e6))
    with pytest.raises(CheckpointError, match=r"tiny needs 0.07 GB, only 0.00 GB are free"):
        write(tmp_path / "tiny", changes={"semantic": interrupt(AssertionError("read"))})
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "float16"}, "float32, bfloat16, int8 .*, not 'float16'"),
        ({"codec_dtype": "int8"}, "its codec not as int8"),
        ({"voices": [("../../en_speaker_3", None)]}, "leads out of the checkpoint"),
    ],
)
def test_bad_arguments(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        write(tmp_path / "tiny", **options)
    assert not any(tmp_path.iterdir())


def test_an_unwritable_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match=r"cannot write .*file/tiny"):
        write(tmp_path / "file" / "tiny")


# Damaged checkpoints


def overwrite(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:-7], "cannot read .*fine.safetensors: .*convert or download it again"),
        (lambda data: data[:3], "cannot read .*fine.safetensors"),
        (lambda data: b"\xff" * 8 + data[8:], "cannot read .*fine.safetensors"),
        (lambda data: data.replace(b'"norm.scale"', b'"gain.scale"'), "gain.scale is unknown\n  norm.scale is missing"),
    ],
    ids=["truncated", "beheaded", "endless header", "renamed"],
)
def test_a_damaged_network_is_named(
    written: Path, tmp_path: Path, change: Callable[[bytes], bytes], message: str
) -> None:
    folder = shutil.copytree(written, tmp_path / "damaged")
    overwrite(folder / "fine.safetensors", change)
    with pytest.raises(CheckpointError, match=message):
        read_network(folder, "fine", TINY)


def test_a_missing_network_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"cannot read .*coarse.safetensors"):
        read_network(tmp_path, "coarse", TINY)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "not a converted checkpoint"),
        ("{", "config.json is not valid JSON"),
        ("[" * 100_000, "config.json is not valid JSON"),
        ("[]", "holds a list"),
        ('{"model_type": "bark"}', "convert it with `bark-jax convert`"),
        (json.dumps({"format": FORMAT, "version": 2}), "format version 2"),
        (json.dumps({"format": FORMAT, "version": 1, "semantics": {}}), "config.json: .*semantics"),
    ],
)
def test_a_bad_config_is_named(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=message):
        read_config(tmp_path)
    assert is_checkpoint(tmp_path) == (text is not None and FORMAT in text)


# Networks


@pytest.mark.parametrize(
    ("size", "counts"),
    [
        ("small", {"semantic": 192_989_952, "coarse": 104_319_744, "fine": 92_247_552}),
        ("large", {"semantic": 446_088_192, "coarse": 327_861_248, "fine": 311_789_568}),
    ],
)
def test_published_sizes(size: str, counts: dict[str, int]) -> None:
    for name, count in counts.items():
        assert sum(int(np.prod(shape)) for shape in parameter_shapes(BarkConfig.preset(size), name).values()) == count


@pytest.mark.parametrize("name", NETWORKS)
def test_filling_reports_everything_at_once(name: str) -> None:
    tensors = make_tensors(TINY, name)
    first, second, *_ = tensors
    tensors = {path: x for path, x in tensors.items() if path != first} | {
        second: np.zeros((3, 3), np.float32),
        "surplus": np.zeros(1),
    }
    with pytest.raises(ParameterError) as raised:
        fill(abstract_network(TINY, name), tensors)
    for problem in (f"{first} is missing", f"{second} has shape (3, 3)", "surplus is unknown"):
        assert problem in str(raised.value)


@pytest.mark.parametrize("name", NETWORKS)
def test_filling_leaves_no_abstract_leaf(name: str) -> None:
    network = fill(abstract_network(TINY, name), make_tensors(TINY, name))
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(network))


def test_random_networks() -> None:
    networks = random_networks(TINY, jax.random.key(7))
    again, other = random_networks(TINY, jax.random.key(7)), random_networks(TINY, jax.random.key(8))
    rounded = random_networks(TINY, jax.random.key(7), param_dtype="bfloat16")
    beginnings = []
    for name in NETWORKS:
        tensors, repeated, others, halves = (named_leaves(n[name]) for n in (networks, again, other, rounded))
        for path, tensor in tensors.items():
            np.testing.assert_array_equal(repeated[path], tensor)
            np.testing.assert_array_equal(halves[path], tensor if name == "codec" else tensor.astype(jnp.bfloat16))
            if "bias" in path or "scale" in path:
                assert np.all(tensor == ("scale" in path))
            else:
                assert not np.array_equal(others[path], tensor)
                beginnings.append(tensor.ravel()[:8].tobytes())
    assert len(set(beginnings)) == len(beginnings)  # no two tensors share a key
    assert np.asarray(networks["semantic"].token_embedding[...]).std() == pytest.approx(0.02, rel=0.02)


def test_random_noise_has_a_sane_level() -> None:
    codec = random_networks(TINY, jax.random.key(0))["codec"]
    codes = jax.random.randint(jax.random.key(1), (1, 8, 20), 0, TINY.codec.codebook_size)
    waveform = jax.jit(lambda codec: codec.decode(codes, jnp.array([20])))(codec)
    assert 0.03 < float(waveform.std()) < 0.3
