"""Adapters: nothing at first, alone in the optimiser, and merged into a network that is as plain as the one before."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from bark_jax import Bark
from bark_jax.checkpoint import write_checkpoint
from bark_jax.models.layers import Linear, project
from bark_jax.models.parameters import map_parameters, parameters
from bark_jax.policy import Policy
from bark_jax.text import builtin_tokenizer
from bark_jax.training import LoraConfig, TrainConfig, Trainer, TrainingError, TrainState
from bark_jax.training.lora import DOWN, UP, merge, start_adapters, target_paths

from small import CONFIG, assert_same, networks, random_batch

LORA = LoraConfig(rank=3, alpha=6, targets=("qkv_projection", "mlp_in"))


class Adapted(nnx.Module):
    """LoRA as it is usually written, beside the frozen layer."""

    def __init__(self, linear: Linear, down: jax.Array, up: jax.Array) -> None:
        self.linear, self.down, self.up = linear, nnx.Param(down), nnx.Param(up)

    def __call__(self, x: jax.Array, policy: Policy) -> jax.Array:
        change = project(project(x, self.down[...], jnp.float32), self.up[...], jnp.float32)
        return self.linear(x, policy) + LORA.alpha / LORA.rank * change


def trained(stage: str, network: Any, steps: int = 5) -> tuple[Trainer, TrainState, dict[str, jax.Array]]:
    train = TrainConfig(steps=100, warmup_steps=0, learning_rate=1e-2, average_decay=0.0)
    trainer = Trainer(config=CONFIG, stage=stage, train=train, lora=LORA)
    state, frozen = trainer.start(network)
    for _ in range(steps):
        state, metrics = trainer.step(state, frozen, random_batch(stage))
    metrics.check()
    return trainer, state, frozen


def test_adapters_change_nothing_at_first() -> None:
    base = parameters(networks()["coarse"])
    adapters = start_adapters(base, LORA, jax.random.key(0))
    assert len(adapters) == 2 * len(target_paths(base, LORA)) == 2 * 2 * CONFIG.coarse.gpt.layers
    assert_same(merge(base, adapters, LORA), base)
    downs = [x for path, x in adapters.items() if path.startswith(DOWN)]
    assert len({float(x[0, 0]) for x in downs}) == len(downs)  # each has its own key


@pytest.mark.parametrize("stage", ["semantic", "fine"])
def test_only_adapters_are_trained(stage: str) -> None:
    network = networks()[stage]
    before = jax.tree.map(np.array, parameters(network))
    trainer, state, frozen = trained(stage, network)
    assert_same(parameters(network), before)
    assert_same(frozen, before)
    assert all(path.startswith((DOWN, UP)) for path in state.trained)
    sizes = [x.size for x in jax.tree.leaves((state.trained, state.optimizer, state.average))]
    assert max(sizes) <= LORA.rank * 4 * network.config.width  # nothing has the size of a weight
    after = parameters(trainer.network(state, frozen))
    moved = {path for path in before if not np.array_equal(after[path], before[path])}
    assert moved == set(target_paths(before, LORA))


def test_merged_weights_do_what_adapters_beside_the_layers_do() -> None:
    network = networks(scale=5)["semantic"]
    trainer, state, frozen = trained("semantic", network)
    tokens = np.random.default_rng(0).integers(0, CONFIG.semantic.gpt.input_vocab, (2, 40))
    merged: Any = trainer.network(state, frozen)
    for i, block in enumerate(network.blocks):
        for name in LORA.targets:
            path = f"blocks.{i}.{name}.weight"
            setattr(block, name, Adapted(getattr(block, name), state.trained[DOWN + path], state.trained[UP + path]))
    expected, logits = network(network.embed(tokens)), merged(merged.embed(tokens))
    assert jnp.linalg.norm(logits - expected) < 1e-5 * jnp.linalg.norm(expected)


def test_a_merged_network_is_a_plain_checkpoint(tmp_path: Path) -> None:
    """Adapters of a base in bfloat16; what was learned is spoken by `generate` and survives the disk."""
    made = networks(scale=5)
    base = map_parameters(lambda _, x: x.astype(jnp.bfloat16), made["coarse"])
    trainer, state, frozen = trained("coarse", base)
    made |= {"coarse": trainer.network(state, frozen)}
    arrays = {name: [(path, np.asarray(x)) for path, x in parameters(n).items()] for name, n in made.items()}
    write_checkpoint(tmp_path / "tuned", CONFIG, arrays, tokenizer_json=builtin_tokenizer().to_str())
    options: dict[str, Any] = {"seed": 3, "max_seconds": 0.5, "allow_early_stop": False}
    expected = Bark(CONFIG, made, builtin_tokenizer()).generate("Hi", **options)
    loaded = Bark.from_pretrained(tmp_path / "tuned", dtype="float32", param_dtype="float32")
    assert_same(loaded.generate("Hi", **options).fine, expected.fine)


def test_an_unknown_target_is_refused() -> None:
    base = parameters(networks()["fine"])
    with pytest.raises(TrainingError, match="no Linear layer query to adapt: choose from attention_out, mlp_in, "):
        target_paths(base, LoraConfig(targets=("query", "mlp_in")))
