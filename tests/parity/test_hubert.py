"""HuBERT against transformers' HubertModel, the quantiser against a plain PyTorch statement of it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from transformers import HubertModel

from bark_jax.convert import ConversionError
from bark_jax.convert.hubert import convert_hubert
from bark_jax.hearing import features
from bark_jax.hearing.layout import Ears, read_ears
from bark_jax.hearing.tokenizer import HubertTokenizer

from parity.hubert_weights import TINY, add_info, save_hubert, save_quantizer

RATE = 16_000


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    """Louder and softer, so that statistics of a part are not those of the whole."""
    rng = np.random.default_rng(seed)
    samples = rng.standard_normal(round(seconds * RATE), np.float32) * 0.1
    return samples * (1 + np.sin(np.arange(len(samples), dtype=np.float32) / 9000)).astype(np.float32)


def theirs(model: HubertModel, waveform: np.ndarray, layer: int) -> np.ndarray:
    with torch.no_grad():
        states = model(torch.from_numpy(waveform)[None], output_hidden_states=True).hidden_states
    return states[layer][0].numpy()


def ours(ears: Ears, waveform: np.ndarray, layer: int) -> np.ndarray:
    return np.concatenate(list(features.hear(ears.hubert, waveform, layer)))


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[HubertModel, Path]:
    folder = tmp_path_factory.mktemp("hubert")
    model = save_hubert(folder / "theirs", **TINY)
    save_quantizer(folder / "q.pth", inputs=48, width=32, vocab=100, version=1)
    convert_hubert(folder / "theirs", folder / "ours", quantizer=folder / "q.pth", layer=2, language="english")
    return model, folder


@pytest.mark.parametrize(("seconds", "layer"), [(0.025, 0), (0.9, 2), (5.3, 3)])
def test_features_are_those_of_transformers(tiny: tuple[HubertModel, Path], seconds: float, layer: int) -> None:
    model, folder = tiny
    waveform = noise(seconds)
    found = ours(read_ears(folder / "ours"), waveform, layer)
    assert found.shape == (read_ears(folder / "ours").hubert.config.count(len(waveform)), 48)
    assert relative(found, theirs(model, waveform, layer)) < 1e-5


def test_safetensors_with_new_names_convert_alike(tiny: tuple[HubertModel, Path], tmp_path: Path) -> None:
    save_hubert(tmp_path / "new", safetensors=True, **TINY)
    convert_hubert(tmp_path / "new", tmp_path / "ours", layer=2)
    new, old = (load_file(folder / "ours/hubert.safetensors") for folder in (tmp_path, tiny[1]))
    assert new.keys() == old.keys()
    assert all(np.array_equal(new[name], old[name]) for name in new)


def test_a_long_recording_is_heard_in_windows(tiny: tuple[HubertModel, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """All but attention is exact, also the norm over the whole recording; attention sees its window only."""
    ears = read_ears(tiny[1] / "ours")
    waveform = noise(11)
    whole = {layer: ours(ears, waveform, layer) for layer in (0, 2)}
    monkeypatch.setattr(features, "WHOLE", 4)
    monkeypatch.setattr(features, "MARGIN", 1)
    assert relative(ours(ears, waveform, 0), whole[0]) < 1e-5
    assert relative(ours(ears, waveform, 2), whole[2]) < 2e-2


@pytest.mark.parametrize(("version", "info"), [pytest.param(0, False, marks=pytest.mark.slow), (0, True), (1, True)])
def test_tokens_are_those_of_the_plain_statement(
    tiny: tuple[HubertModel, Path], tmp_path: Path, version: int, info: bool
) -> None:
    sizes = {"inputs": 48, "width": 1024 if not info else 32, "vocab": 10_000 if not info else 100}
    if not info:
        sizes["inputs"] = 768
        model = save_hubert(tmp_path / "wide", **{**TINY, "hidden_size": 768, "num_hidden_layers": 1})
    else:
        model = tiny[0]
    source = tmp_path / "wide" if not info else tiny[1] / "theirs"
    plain = save_quantizer(tmp_path / "q.pth", version=version, info=info, **sizes)
    convert_hubert(source, tmp_path / "out", quantizer=tmp_path / "q.pth", layer=1)
    tokenizer = HubertTokenizer(ears=read_ears(tmp_path / "out"))
    waveform = noise(12 if info else 1)  # more than a block of the quantiser
    with torch.no_grad():
        expected = plain(torch.from_numpy(theirs(model, waveform, 1))).argmax(-1).numpy()
    found = tokenizer(waveform, RATE)
    assert found.dtype == np.int32
    assert tokenizer.vocab == sizes["vocab"]
    assert len(found) == len(expected)
    assert (found == expected).mean() > 0.99  # logits of random weights are close together


def test_less_than_one_feature_has_no_tokens(tiny: tuple[HubertModel, Path]) -> None:
    tokenizer = HubertTokenizer(ears=read_ears(tiny[1] / "ours"))
    assert tokenizer(np.zeros(1, np.float32), RATE).shape == (0,)
    assert tokenizer(np.zeros(4000, np.float32), 24_000).shape == (8,)  # silence


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"input_size": 10**12, "hidden_size": 32, "output_size": 100, "version": 0}, "inputs is 1000000000000"),
        ({"input_size": 48, "hidden_size": 64, "output_size": 100, "version": 0}, "must be"),
        ({"input_size": 48, "hidden_size": 32, "output_size": 100, "version": 7}, "version 7"),
        ([1, 2], "not a quantiser"),
        ("x" * 10**6, "not a quantiser"),
    ],
)
def test_absurd_infos_are_refused(tiny: tuple[HubertModel, Path], tmp_path: Path, said: object, problem: str) -> None:
    path = tmp_path / "q.pth"
    save_quantizer(path, inputs=48, width=32, vocab=100, version=0, info=False)
    add_info(path, said)
    with pytest.raises(ConversionError, match=problem):
        convert_hubert(tiny[1] / "theirs", tmp_path / "out", quantizer=path, layer=1)
    assert not (tmp_path / "out").exists()


def test_other_files_are_refused(tiny: tuple[HubertModel, Path], tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[object, ...]:
            return (print, ("run",))

    source = tiny[1] / "theirs"
    torch.save({"weight": torch.zeros(2)}, tmp_path / "other.pth")
    torch.save({"fc.weight": Hostile()}, tmp_path / "hostile.pth")
    (tmp_path / "text.pth").write_text("no zip")
    for name, problem in (("other", "not a quantiser"), ("hostile", "print"), ("text", "not a quantiser")):
        with pytest.raises(ConversionError, match=problem):
            convert_hubert(source, tmp_path / "out", quantizer=tmp_path / f"{name}.pth", layer=1)
    fairseq = tmp_path / "hubert_base_ls960.pt"
    fairseq.write_bytes(b"any")
    with pytest.raises(ConversionError, match=r"pytorch_model\.bin and config\.json of facebook/hubert-base-ls960"):
        convert_hubert(fairseq, tmp_path / "out")


@pytest.mark.slow
def test_at_full_size(tmp_path: Path) -> None:
    model = save_hubert(tmp_path / "theirs")
    plain = save_quantizer(tmp_path / "q.pth", inputs=768, width=1024, vocab=10_000, version=1)
    convert_hubert(tmp_path / "theirs", tmp_path / "ours", quantizer=tmp_path / "q.pth")
    ears = read_ears(tmp_path / "ours")
    waveform = noise(4)
    for layer in (6, 9):
        assert relative(ours(ears, waveform, layer), theirs(model, waveform, layer)) < 1e-5
    with torch.no_grad():
        expected = plain(torch.from_numpy(theirs(model, waveform, 9))).argmax(-1).numpy()
    assert (HubertTokenizer(ears=ears)(waveform, RATE) == expected).mean() > 0.99
