"""What is decided by the device, which is the one that holds the weights."""

from dataclasses import replace
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from bark_jax import Bark, BarkConfig, kernels
from bark_jax.models.parameters import map_parameters
from bark_jax.policy import PLAIN, Policy


@pytest.fixture(scope="module")
def bark() -> Bark:
    return Bark.from_config(BarkConfig.tiny(), jax.random.key(0))


def test_on_a_cpu_it_is_the_plain_definition_but_for_the_kernels(bark: Bark) -> None:
    on_host = map_parameters(lambda _, value: np.asarray(value), bark.semantic)
    own = replace(PLAIN, kernels=kernels.available())
    assert own == Policy.of(bark.semantic) == Policy.of(on_host) == Policy.of_mesh(None) == bark.engine.policy


def test_it_follows_the_weights_and_not_the_default_platform(bark: Bark, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    own = replace(PLAIN, kernels=kernels.available())
    assert Policy.of(bark.semantic) == own
    mesh = jax.make_mesh((1,), ("data",))
    assert Bark.from_config(BarkConfig.tiny(), jax.random.key(0), mesh=mesh).engine.policy == own


class Card:
    """An NVIDIA card, as JAX describes it."""

    platform = "gpu"

    def __init__(self, compute_capability: str) -> None:
        self.compute_capability = compute_capability


@pytest.mark.parametrize(("capability", "dtype"), [("7.5", "float32"), ("8.0", "bfloat16"), ("9.0", "bfloat16")])
def test_cards_without_bfloat16_compute_in_float32(capability: str, dtype: str) -> None:
    policy = Policy.of_device(Card(capability))
    assert (policy.dtype, policy.fixed_trips, policy.batch_size) == (dtype, True, 4)


def test_only_gpus_waste_steps() -> None:
    assert [Policy.of_platform(name).fixed_trips for name in ("cpu", "gpu", "tpu")] == [False, True, False]


def test_each_platform_has_its_layout() -> None:
    cpu, gpu, tpu = (Policy.of_platform(name, bfloat16=False) for name in ("cpu", "gpu", "tpu"))
    assert cpu == PLAIN
    assert (gpu.norm_rows, gpu.threshold_bits, gpu.query_chunk, gpu.flat_cache) == (2, 4, 1024, False)
    assert Policy.of_platform("tpu", bfloat16=False, split=True) == replace(tpu, flat_cache=False)
    assert (tpu.step_rows, tpu.flat_cache, tpu.query_chunk, tpu.codec_piece) == (8, True, 256, 15)


@pytest.mark.parametrize(("shape", "flat"), [((1, 1), True), ((2, 1), True), ((1, 2), False)])
def test_weights_over_several_devices_have_no_flat_cache(shape: tuple[int, int], flat: bool) -> None:
    class Chip:
        platform = "tpu"

    chips = SimpleNamespace(devices=np.full(shape, Chip()), shape=dict(zip(("data", "model"), shape, strict=True)))
    assert Policy.of_mesh(chips).flat_cache == flat
