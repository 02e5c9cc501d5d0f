"""The engine: what is compiled when, what it computes in, and what it says of itself."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bark_jax import Bark, Settings
from bark_jax.checkpoint import write_checkpoint
from bark_jax.config import NETWORKS
from bark_jax.measuring import compilations
from bark_jax.models.parameters import parameters
from bark_jax.policy import Policy, network_dtypes
from bark_jax.settings import Overrides, SettingsError
from bark_jax.speech.delivery import Delivery, SpeakOverrides
from bark_jax.text import builtin_tokenizer

from two_processes import CONFIG

SHORT: dict[str, Any] = {"seed": 1, "max_seconds": 0.5, "allow_early_stop": False}


@pytest.fixture(scope="module")
def bark() -> Bark:
    return Bark.from_config(CONFIG, jax.random.key(0), name="random:shallow")


def test_after_warming_up_nothing_is_compiled(bark: Bark) -> None:
    """Whichever comes first: a voice or none, a long clip or a short one, a list, a stream."""
    bark.warm_up(batch_sizes=(1, 2), ranking=True)
    with compilations() as compiled:
        clip = bark.generate("Hello", seed=1, max_seconds=4, allow_early_stop=False)
        bark.generate("Hello", clip, seed=2, semantic_temperature=0.3, progress=lambda *_: None)
        bark.generate(["One", "Two"], [clip, "none"], seed=3, max_seconds=4, allow_early_stop=False)
        list(bark.stream("One. Two.", clip, seed=4, max_seconds=0.5))
        bark.best_of("One", n=2, seed=5, max_seconds=0.5)
    assert compiled == []


@pytest.mark.parametrize("sizes", [(0,), (1.5,), ("2",)])
def test_bad_batch_sizes_are_named(bark: Bark, sizes: tuple[Any, ...]) -> None:
    with pytest.raises(SettingsError, match=f"a batch size must be an integer ≥ 1, not {sizes[0]!r}"):
        bark.warm_up(sizes)


def test_it_says_what_it_is(bark: Bark) -> None:
    lines = repr(bark).splitlines()
    assert lines[0] == "Bark random:shallow"
    assert [line.split()[0] for line in lines[1:5]] == list(NETWORKS)
    assert lines[1].endswith("M parameters in float32")
    assert lines[5] == "  on 1 × cpu"
    assert len(lines) == 6
    assert "Engine of random:shallow" in repr(bark.engine)
    half = Bark.from_config(CONFIG, jax.random.key(0), dtype="bfloat16", param_dtype="float32", offload=True)
    assert "Bark unnamed, weights offloaded" in repr(half)
    assert "M parameters in float32\n" in repr(half), "on CPUs bfloat16 is of the weights alone"


DTYPES = {"semantic": "float16", "coarse": "bfloat16", "fine": "float32"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, bark: Bark) -> Path:
    folder = tmp_path_factory.mktemp("model") / "checkpoint"
    networks = {
        name: [(path, np.asarray(value)) for path, value in parameters(network).items()]
        for name, network in bark.engine.networks.items()
    }
    write_checkpoint(folder, CONFIG, networks, tokenizer_json=builtin_tokenizer().to_str())
    return folder


def test_every_network_may_have_its_own_dtype(folder: Path) -> None:
    for mixed in (
        Bark.from_pretrained(folder, dtype=DTYPES),
        Bark.from_config(CONFIG, jax.random.key(0), dtype=DTYPES),
    ):
        for name in NETWORKS:
            held = {leaf.dtype for leaf in jax.tree.leaves(mixed.engine.networks[name])}
            assert held == {jnp.dtype(DTYPES.get(name, "float32"))}
        clip = mixed.generate("Hello", **SHORT)
        assert np.isfinite(clip.waveform).all()
        assert clip.waveform.std() > 0


def test_float16_is_close_to_float32(bark: Bark) -> None:
    half = Bark.from_config(CONFIG, jax.random.key(0), dtype="float16")
    outputs = [b.generate("Hello", **SHORT, outputs=["hidden"]).outputs for b in (bark, half)]
    hidden = [made["semantic"]["hidden"][0] for made in outputs]  # of the first step: later ones follow other tokens
    np.testing.assert_allclose(*hidden, atol=0.02)
    assert hidden[0].std() > 0.5


@pytest.mark.parametrize(
    ("dtype", "message"),
    [
        ("int4", "a dtype is one of float32, bfloat16, float16, int8, not 'int4'"),
        ({"codec": "float16"}, "not for 'codec'"),
    ],
)
def test_other_dtypes_are_named(dtype: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Bark.from_pretrained("random:tiny", dtype=dtype)


def test_dtypes_that_are_not_named_are_the_policys() -> None:
    policy = Policy.of_platform("tpu")
    made = network_dtypes({"coarse": "float32"}, {"fine": "float32"}, policy)
    names = {name: tuple(str(made[name][kind]) for kind in ("dtype", "param_dtype")) for name in NETWORKS}
    assert names == {
        "semantic": ("bfloat16", "bfloat16"), "coarse": ("float32", "float32"), "fine": ("bfloat16", "float32"),
        "codec": ("float32", "float32"),
    }  # fmt: skip


def test_editors_know_every_override() -> None:
    settings = {field.name for field in dataclasses.fields(Settings)}
    delivery = {field.name for field in dataclasses.fields(Delivery)}
    assert Overrides.__annotations__.keys() == settings
    assert SpeakOverrides.__annotations__.keys() >= delivery
    assert SpeakOverrides.__optional_keys__ == settings | delivery
