"""A mesh of eight devices and parts of it: not collected by itself, see `test_sharding.py`."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
import pytest

from bark_jax import Bark, BarkConfig, Generation, Settings
from bark_jax.measuring import compilations
from bark_jax.sharding import parameter_sharding
from bark_jax.stages import coarse, semantic
from bark_jax.training import CodecTraining, TrainConfig, Trainer

import small
from two_processes import CONFIG

pytestmark = pytest.mark.filterwarnings("ignore::bark_jax.generation.EmptyGeneration")


@pytest.fixture(scope="module")
def batch() -> Mapping[str, Any]:
    """Seven different items, the first one empty: one more is needed to fill eight devices."""
    bark = Bark.from_config(CONFIG, jax.random.key(0))
    voice = bark.generate("A voice.", seed=5, max_seconds=1, allow_early_stop=False).as_voice()
    return {
        "text": [f"Item {i}" for i in range(7)],
        "voice": [voice, None] * 3 + [None],
        "seed": list(range(7)),
        "settings": [Settings(max_seconds=0.5 + 0.2 * i, min_eos_p=0.008 if i else 1e-9) for i in range(7)],
    }


@pytest.fixture(scope="module")
def expected(batch: Mapping[str, Any]) -> list[Generation]:
    return Bark.from_config(CONFIG, jax.random.key(0)).generate(**batch)


@pytest.fixture(scope="module", params=[(8, 1), (4, 2), (1, 2)], ids=lambda shape: f"data {shape[0]}, model {shape[1]}")
def bark(request: pytest.FixtureRequest) -> Bark:
    data, model = request.param
    devices = jax.devices()[: data * model]
    return Bark.from_config(
        CONFIG, jax.random.key(0), mesh=jax.make_mesh((data, model), ("data", "model"), devices=devices)
    )


def test_a_mesh_changes_no_token(bark: Bark, batch: Mapping[str, Any], expected: list[Generation]) -> None:
    results = bark.generate(**batch)
    assert len(results) == len(expected)
    for ours, single in zip(results, expected, strict=True):
        for name in ("semantic", "coarse", "fine"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(single, name), err_msg=name)
        np.testing.assert_allclose(ours.waveform, single.waveform, atol=1e-5)


def test_a_mesh_speaks_the_same_long_text(bark: Bark) -> None:
    """Its codec runs in pieces, and its takes are scored, on the mesh too."""
    options = {"seed": 1, "best_of": 2, "batch_size": 4, "max_seconds": 0.6, "min_eos_p": None}
    text, alone = "One. [pause] Two. [pause] Three.", Bark.from_config(CONFIG, jax.random.key(0))
    ours, single = (b.speak(text, **options) for b in (bark, alone))
    for piece, other in zip(ours.pieces, single.pieces, strict=True):
        assert piece.seed == other.seed
        np.testing.assert_array_equal(piece.tokens.fine, other.tokens.fine)
    np.testing.assert_allclose(ours.waveform, single.waveform, atol=1e-5)


def test_a_second_call_compiles_nothing_and_devices_cache_their_own_rows(
    bark: Bark, batch: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    shares: list[float] = []

    def watched(advance: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            state = advance(*arguments, **options)
            buffers = jax.tree.leaves(state.cache)
            shares.extend(buffer.addressable_shards[0].data.shape[0] / buffer.shape[0] for buffer in buffers)
            return state

        return run

    for stage in (semantic, coarse):
        monkeypatch.setattr(stage, "_advance", watched(stage._advance))
    with compilations() as compiled:
        bark.generate(**batch)
    assert compiled == []
    assert set(shares) == {1 / bark.mesh.shape["data"]}


def test_weights_are_where_the_rules_say(bark: Bark) -> None:
    parts, gpt = bark.mesh.shape["model"], CONFIG.semantic.gpt

    def shard(parameter: Any) -> tuple[int, ...]:
        return parameter[...].addressable_shards[0].data.shape

    for network in (bark.semantic, bark.coarse, bark.fine):
        block = network.blocks[0]
        assert shard(block.qkv_projection.weight) == (3 * gpt.width // parts, gpt.width)
        assert shard(block.mlp_in.bias) == (4 * gpt.width // parts,)
        assert shard(block.mlp_out.weight) == (gpt.width, 4 * gpt.width // parts)
        assert shard(block.mlp_out.bias) == (gpt.width,)
    assert shard(bark.semantic.token_embedding) == (gpt.input_vocab // parts, gpt.width)
    assert bark.codec.quantizer.codebooks[...].is_fully_replicated


def test_a_mesh_that_does_not_divide_the_weights_is_refused() -> None:
    mesh = jax.make_mesh((1, 3), ("data", "model"), devices=jax.devices()[:3])
    with pytest.raises(ValueError, match='cannot be split over the 3 devices of "model"'):
        Bark.from_config(BarkConfig.tiny(), jax.random.key(0), mesh=mesh)


def test_one_clip_may_use_a_mesh(batch: Mapping[str, Any], expected: list[Generation]) -> None:
    """And its weights return to the mesh after they were offloaded."""
    mesh = jax.make_mesh((8, 1), ("data", "model"))
    bark = Bark.from_config(CONFIG, jax.random.key(0), mesh=mesh, offload=True)
    assert isinstance(bark.coarse.head.weight[...], np.ndarray)
    item = {name: values[2] for name, values in batch.items()}
    np.testing.assert_array_equal(bark.generate(**item).fine, expected[2].fine)
    assert bark.encode(np.zeros(640, np.float32)).shape == (8, 2)


@pytest.mark.parametrize(
    ("stage", "shape", "optimizer"),
    [("coarse", (4, 2), "adamw"), ("coarse", (4, 2), "muon"), ("codec", (8, 1), "adamw")],
)
def test_a_training_step_is_the_same_on_a_mesh(stage: str, shape: tuple[int, int], optimizer: str) -> None:
    """And everything that belongs to a parameter lies where the parameter does."""
    train = TrainConfig(
        optimizer=optimizer, steps=10, warmup_steps=0, microbatches=2, codec=CodecTraining(windows=(16,), dropout=0.0)
    )
    network = small.networks()[stage]
    batch = jax.tree.map(lambda x: np.concatenate([x] * 4), small.random_batch(stage))
    found = []
    for mesh in (None, jax.make_mesh(shape, ("data", "model"))):
        trainer = Trainer(config=small.CONFIG, stage=stage, train=train, mesh=mesh)
        state, frozen = trainer.start(network)
        for _ in range(2):
            state, metrics = trainer.step(state, frozen, batch)
        found.append((float(metrics.loss), state))
    (loss, state), (same_loss, spread) = found
    assert same_loss == pytest.approx(loss, rel=1e-4)
    for path, value in state.trained.items():
        np.testing.assert_allclose(spread.trained[path], value, atol=1e-3)  # Adam's first steps amplify rounding
    belongings = jax.tree_util.tree_leaves_with_path((spread.trained, spread.average, spread.optimizer))
    named = [(getattr(keys[-1], "key", None), leaf) for keys, leaf in belongings]
    assert sum(path in state.trained for path, _ in named) >= 3 * len(state.trained)
    for path, leaf in named:
        if path in state.trained:
            assert leaf.sharding.is_equivalent_to(parameter_sharding(path, trainer.mesh), leaf.ndim), path
