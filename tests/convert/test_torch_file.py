"""torch.save's files: what torch writes is read exactly, everything else is refused and never run."""

import io
import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bark_jax.convert import ConversionError
from bark_jax.convert.torch_file import TorchTensor, read_torch_file

FLOATS = torch.arange(24, dtype=torch.float32)


def read_all(value: Any) -> Any:
    """The same structure with arrays, as torch.load would return it with tensors."""
    if isinstance(value, TorchTensor):
        return value.read()
    if isinstance(value, dict):
        return {key: read_all(item) for key, item in value.items()}
    return value


def write_archive(path: Path, data: bytes, storages: dict[str, bytes] | None = None, **options: Any) -> Path:
    """A zip laid out as torch.save does it, around any pickle."""
    with zipfile.ZipFile(path, "w", **options) as archive:
        archive.writestr("archive/data.pkl", data)
        for key, content in (storages or {}).items():
            archive.writestr(f"archive/data/{key}", content)
    return path


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.bool, torch.int64]
)
@pytest.mark.parametrize(
    "view",
    [
        lambda x: x,
        lambda x: x.view(4, 6).t(),
        lambda x: x[5:],
        lambda x: x.view(2, 3, 4)[1, 1:, ::2],
        lambda x: x[3],
        lambda x: x[:0],
    ],
    ids=["whole", "transposed", "offset", "strided", "scalar", "empty"],
)
def test_views(dtype: torch.dtype, view: Callable[[torch.Tensor], torch.Tensor], tmp_path: Path) -> None:
    tensor = view((FLOATS - 7).to(dtype))
    torch.save({"x": tensor}, tmp_path / "x.pt")
    x = read_torch_file(tmp_path / "x.pt")["x"]
    assert x.shape == tuple(tensor.shape)
    assert np.array_equal(x.read().astype(np.float64), tensor.double().numpy())


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_everything_a_checkpoint_holds(protocol: int, tmp_path: Path) -> None:
    module = torch.nn.Linear(3, 2)
    content = {
        "state": module.state_dict(),  # an OrderedDict with _metadata
        "parameter": module.weight,
        "optimizer": {"state": {0: {"step": torch.tensor(1.0)}}, "betas": (0.9, 0.95), "lr": 1e-3},
        "arguments": OrderedDict(name="Bark", bias=False, parent=None, steps=[1, 300, 70_000, -1, 2**40]),
    }
    torch.save(content | {"loss": np.float64(0.5)}, tmp_path / "x.pt", pickle_protocol=protocol)
    read = read_all(read_torch_file(tmp_path / "x.pt"))
    assert read.pop("loss") is None
    assert np.array_equal(read["state"]["weight"], module.weight.detach().numpy())
    assert np.array_equal(read["parameter"], module.weight.detach().numpy())
    assert read["optimizer"]["betas"] == (0.9, 0.95)
    assert read["arguments"] == content["arguments"]


def test_tensors_are_views_of_the_file(tmp_path: Path) -> None:
    torch.save({"x": FLOATS}, tmp_path / "x.pt")
    x = read_torch_file(tmp_path / "x.pt")["x"].read()
    assert not x.flags.owndata
    assert not x.flags.writeable


class Call:
    """Pickles as a call of anything."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@dataclass
class Storage:
    """Pickles as a storage of 32-bit floats; the file has one of six under the key "0"."""

    key: str = "0"
    size: int = 6


class Pickler(pickle.Pickler):
    def persistent_id(self, value: Any) -> Any:
        if isinstance(value, Storage):
            return ("storage", torch.FloatStorage, value.key, "cpu", value.size)
        return None


def pickled(value: Any, protocol: int = 2) -> bytes:
    stream = io.BytesIO()
    Pickler(stream, protocol).dump(value)
    return stream.getvalue()


def tensor(offset: int, shape: Any, strides: Any) -> bytes:
    call = Call(torch._utils._rebuild_tensor_v2, Storage(), offset, shape, strides, False, OrderedDict())
    return pickled({"x": call})


def hostile_pickles(marker: Path) -> dict[str, tuple[bytes, str]]:
    """Pickles that would run a command, exhaust the reader or read other bytes, and what the refusal must name."""
    command = f"touch {marker}"
    text = b"X" + struct.pack("<I", len(command)) + command.encode()
    return {
        "GLOBAL": (pickled(Call(os.system, command)), "posix.system"),
        "STACK_GLOBAL": (pickled(Call(os.system, command), 4), "posix.system"),
        "eval": (pickled(Call(eval, command)), "eval"),
        "getattr": (pickled(Call(getattr, OrderedDict(), "clear")), "getattr"),
        "a dotted name": (b"\x80\x04\x8c\x05torch\x8c\x14FloatStorage.__new__\x93.", r"FloatStorage\.__"),
        "INST": (b"(" + text + b"ios\nsystem\n.", "INST"),
        "OBJ": (b"(cos\nsystem\n" + text + b"o.", r"os\.system"),
        "NEWOBJ": (b"\x80\x02ctorch\nFloatStorage\n)\x81.", "damaged"),  # may be mentioned, not called
        "NEWOBJ of a command": (b"\x80\x02cos\nsystem\n)\x81.", r"os\.system"),
        "NEWOBJ_EX": (b"\x80\x04ccollections\nOrderedDict\n)}\x92.", "NEWOBJ_EX"),
        "EXT1": (b"\x80\x02\x82\x01.", "EXT1"),
        "a text id": (b"Pstorage\n.", "PERSID"),
        "another id": (b"\x80\x02K\x01Q.", "not a storage"),
        "a called storage": (b"\x80\x02ctorch\nFloatStorage\n)R.", "damaged"),
        "a called string": (b"\x80\x02" + text + b")R.", "damaged"),
        "a tuple as a key": (pickled({(): 1}), "damaged"),
        "items of a string": (b"\x80\x02" + text + b"K\x01K\x01s.", "damaged"),
        "a huge string": (b"\x80\x02X\xff\xff\xff\x7f.", "damaged"),
        "an empty stack": (b"\x80\x02.", "damaged"),
        "no end": (b"\x80\x02}", "damaged"),
        "nothing": (b"", "damaged"),
        "a huge pickle": (b"\x80\x02" + b"N0" * 2**23 + b"N.", "absurdly large"),
        "a tensor without storage": (pickled(Call(torch._utils._rebuild_tensor_v2, *[()] * 6)), "damaged"),
        "a negative offset": (tensor(-1, (6,), (1,)), "damaged"),
        "a negative stride": (tensor(5, (6,), (-1,)), "damaged"),
        "more strides than axes": (tensor(0, (6,), (1, 1)), "damaged"),
        "fractional shape": (tensor(0, (6.0,), (1,)), "damaged"),
        "many axes": (tensor(0, (1,) * 99, (1,) * 99), "damaged"),
        "an absurd shape": (tensor(0, (2**62, 2**62), (0, 0)), "does not fit its storage"),
        "a stride too long": (tensor(0, (6,), (2,)), "does not fit its storage"),
        "an offset too far": (tensor(1, (6,), (1,)), "does not fit its storage"),
        "an empty tensor far away": (tensor(10**30, (0,), (1,)), "does not fit its storage"),
        "an empty tensor of absurd shape": (tensor(0, (0, 10**30), (0, 0)), "does not fit its storage"),
        "an absurd stride that is not taken": (tensor(0, (1,), (10**30,)), "does not fit its storage"),
        "an absurd storage": (pickled(Storage(size=2**60)), "declares 1152921504606846976 elements in 24 bytes"),
        "a missing storage": (pickled(Storage(key="1")), "'data/1' is missing"),
        "a storage elsewhere": (pickled(Storage(key="../data.pkl")), "'data/../data.pkl' is missing"),
    }


@pytest.mark.parametrize("name", hostile_pickles(Path()))
def test_hostile_pickles(name: str, tmp_path: Path) -> None:
    data, reason = hostile_pickles(tmp_path / "marker")[name]
    path = write_archive(tmp_path / "x.pt", data, {"0": bytes(24)})
    with pytest.raises(ConversionError, match=reason) as refused:
        read_torch_file(path)
    assert str(path) in str(refused.value)
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize(
    "data",
    [
        pickle.dumps(type("Odd", (dict,), {"__reduce__": lambda _: (OrderedDict, (), {"keys": 1, "items": 2})})(), 2),
        b"\x80\x02ccollections\nOrderedDict\n}X\x04\0\0\0nameK\x01sb)R.",
        b"\x80\x02}r\xff\xff\xff\x7f.",
    ],
    ids=["attributes of an object", "attributes of a global", "a huge memo"],
)
def test_harmless_oddities(data: bytes, tmp_path: Path) -> None:
    assert read_torch_file(write_archive(tmp_path / "x.pt", data)) == {}


def test_nesting_needs_no_recursion(tmp_path: Path) -> None:
    write_archive(tmp_path / "deep.pt", b"\x80\x02" + b"]" * 10**5 + b"a" * (10**5 - 1) + b".")
    assert type(read_torch_file(tmp_path / "deep.pt")) is list


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a torch.save file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"\x80\x02\x8a\x0alF\xfc\x9cF\xf9 j\xa8P\x19.", r"before torch 1\.6.*torch\.save\(torch\.load"),
        (b"PK\x03\x04" + bytes(1000), "truncated or damaged"),
    ],
)
def test_files_that_are_not_zips(content: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(ConversionError, match=reason):
        read_torch_file(tmp_path / "x.pt")


def test_legacy_format_of_this_torch(tmp_path: Path) -> None:
    torch.save({"x": FLOATS}, tmp_path / "x.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(ConversionError, match="re-save it"):
        read_torch_file(tmp_path / "x.pt")


def test_other_zips(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        archive.writestr("readme.txt", "…")
    with pytest.raises(ConversionError, match="not one that torch"):
        read_torch_file(tmp_path / "x.pt")
    write_archive(tmp_path / "x.pt", b"\x80\x02}.", compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(ConversionError, match="compressed or encrypted: re-save"):
        read_torch_file(tmp_path / "x.pt")
    with zipfile.ZipFile(write_archive(tmp_path / "x.pt", b"\x80\x02}."), "a") as archive:
        archive.writestr("archive/byteorder", "big")
    with pytest.raises(ConversionError, match="big-endian"):
        read_torch_file(tmp_path / "x.pt")


def test_encrypted_members(tmp_path: Path) -> None:
    torch.save({"x": FLOATS}, tmp_path / "x.pt")
    content = bytearray((tmp_path / "x.pt").read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1  # the flag in the central directory
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(ConversionError, match="encrypted"):
        read_torch_file(tmp_path / "x.pt")


@pytest.mark.parametrize("kept", [0.01, 0.3, 0.6, 0.9, 0.999])
def test_truncated_files(kept: float, tmp_path: Path) -> None:
    torch.save({"x": FLOATS}, tmp_path / "x.pt")
    content = (tmp_path / "x.pt").read_bytes()
    (tmp_path / "x.pt").write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ConversionError, match=r"x\.pt is truncated or damaged.*download it again"):
        read_torch_file(tmp_path / "x.pt")


def test_damage_never_escapes(tmp_path: Path) -> None:
    """Whatever byte is wrong: either it does not matter, or there is a ConversionError."""
    torch.save({"model": torch.nn.Linear(3, 2).state_dict(), "loss": np.float64(1)}, tmp_path / "good.pt")
    content = (tmp_path / "good.pt").read_bytes()
    random = np.random.default_rng(0)
    refused = 0
    for _ in range(500):
        damaged = bytearray(content)
        damaged[random.integers(len(content))] = random.integers(256)
        (tmp_path / "bad.pt").write_bytes(damaged)
        try:
            read_all(read_torch_file(tmp_path / "bad.pt"))
        except ConversionError:
            refused += 1
    assert 100 < refused < 500
