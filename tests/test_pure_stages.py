"""The stages as pure functions: jitted, vmapped, differentiated, and as shapes alone."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from bark_jax import Bark, BarkConfig, Settings
from bark_jax.config import EncodecConfig
from bark_jax.models.encodec import Encodec
from bark_jax.models.parameters import abstract_network
from bark_jax.stages import coarse, coarse_plan, fine, scoring, semantic
from bark_jax.stages.noise import fold_keys, seed_keys
from bark_jax.stages.sampling import Sampling

from two_processes import CONFIG

STEPS = 10
SETTINGS = Settings(allow_early_stop=False, max_seconds=(STEPS + 0.5) / CONFIG.semantic.rate_hz)
TEXT = np.full(5, CONFIG.semantic.text_offset + 7, np.int32)


@pytest.fixture(scope="module")
def bark() -> Bark:
    return Bark.from_config(CONFIG, jax.random.key(0))


def rules(stage: str, rows: int = 1) -> dict[str, Any]:
    """What steps of a stage take, beside the state."""
    return {"keys": seed_keys(range(rows)), "sampling": Sampling.of([SETTINGS] * rows, stage)}


def prompts(rows: int = 1) -> tuple[np.ndarray, np.ndarray]:
    return semantic.prompt_rows(CONFIG.semantic, [TEXT] * rows, [None] * rows)


def test_semantic_steps_are_the_stage(bark: Bark) -> None:
    """Step by step from the host, all steps at once, and rows under vmap instead of a batch."""
    gpt, own, stop = bark.semantic, CONFIG.semantic, semantic.stop_rule(CONFIG.semantic, [SETTINGS] * 2)
    expected = semantic.generate_semantic(gpt, CONFIG, [TEXT] * 2, seed_keys([0, 1]), [SETTINGS] * 2)
    state = jax.jit(semantic.prefill, static_argnums=1)(gpt, own, *prompts(2))
    step = jax.jit(partial(semantic.step, gpt, own, **rules("semantic", 2), stop=stop))
    stepped = state
    for _ in range(STEPS):
        stepped = step(stepped)
    np.testing.assert_array_equal(stepped.kept.tokens[:, :STEPS], expected)
    assert stepped.kept.done.all()
    decoded = jax.jit(partial(semantic.decode, gpt, own, **rules("semantic", 2), stop=stop, until=STEPS))(state)
    np.testing.assert_array_equal(decoded.kept.tokens, stepped.kept.tokens)

    def alone(key: jax.Array) -> jax.Array:
        single = {"keys": key[None], "sampling": Sampling.of([SETTINGS], "semantic")}
        first = semantic.prefill(gpt, own, *map(jnp.asarray, prompts()))
        until = semantic.decode(gpt, own, first, **single, stop=semantic.stop_rule(own, [SETTINGS]), until=STEPS)
        return until.kept.tokens[0, :STEPS]

    np.testing.assert_array_equal(jax.jit(jax.vmap(alone))(seed_keys([0, 1])), expected)


def test_coarse_steps_are_the_stage(bark: Bark) -> None:
    gpt, tokens = bark.coarse, np.arange(30, dtype=np.int32)
    expected = coarse.generate_coarse(gpt, CONFIG, [tokens], seed_keys([0]), [SETTINGS])[0]
    nothing = coarse_plan.coarse_history(CONFIG, None, SETTINGS)
    plan = coarse_plan.plan_windows(CONFIG, [tokens], [nothing], [SETTINGS], CONFIG.semantic.max_new)
    flat = coarse_plan.flat_buffer(CONFIG, [nothing[1]], len(plan.action) * CONFIG.coarse.window)
    state = coarse.start(gpt, CONFIG, jnp.asarray(flat))
    assert coarse.prompt(CONFIG, plan, state, CONFIG.coarse.max_semantic + 1)[0, -1] == CONFIG.coarse.infer
    state = jax.jit(coarse.prefill, static_argnums=(1, 4))(gpt, CONFIG, plan, state, CONFIG.coarse.max_semantic)
    step = jax.jit(partial(coarse.step, gpt, CONFIG, **rules("coarse")))
    for _ in range(expected.size):
        state = step(state)
    generated = np.asarray(state.kept)[0, CONFIG.coarse.max_history :][: expected.size]
    np.testing.assert_array_equal(coarse_plan.unflatten_codes(CONFIG, generated), expected)


def test_fine_steps_are_the_stage(bark: Bark) -> None:
    codes, model = np.arange(60, dtype=np.int32).reshape(2, 30), bark.fine
    expected = fine.generate_fine(model, CONFIG, [codes], seed_keys([0]), [SETTINGS])[0]
    rows = fine.plan_rows(CONFIG, [30], [0])
    window = np.full((1, 8, CONFIG.fine.gpt.block_size), CONFIG.fine.pad, np.int32)
    window[0, :2, :30] = codes
    begin, fresh, window = fine.prompt(CONFIG, rows, jnp.asarray(window), jnp.int32(0))
    assert begin == 0
    step = jax.jit(partial(fine.step, model, CONFIG, fresh=fresh, index=jnp.int32(0), **rules("fine")))
    for codebook in range(2, 8):
        window, _ = step(window=window, codebook=jnp.int32(codebook))
    np.testing.assert_array_equal(window[0, :, :30], expected)


@pytest.mark.parametrize("size", ["small", "large"])
def test_shapes_of_full_size_cost_nothing(size: str) -> None:
    config = BarkConfig.preset(size)
    own, text = config.semantic, jax.ShapeDtypeStruct((3, config.semantic.max_text), jnp.int32)
    gpt = abstract_network(config, "semantic", dtype="bfloat16")
    state = jax.eval_shape(lambda gpt, text: semantic.prefill(gpt, own, text, text), gpt, text)
    gpt_rules = own.gpt
    assert state.kept.tokens.shape == (3, own.max_new)
    assert len(state.cache.keys) == gpt_rules.layers
    size_of_cache = 2 * gpt_rules.layers * 3 * gpt_rules.width * semantic.cache_length(own)
    assert sum(leaf.size for leaf in jax.tree.leaves(state.cache)) == size_of_cache


def test_the_probability_of_tokens_can_be_differentiated_by_the_prompt(bark: Bark) -> None:
    """By the embeddings of the text: how much each of its places matters, in forward and in reverse mode."""
    gpt, tokens = bark.semantic, jnp.arange(6)[None]
    text, history = map(jnp.asarray, prompts())
    infer = jnp.full((1, 1), CONFIG.semantic.infer, jnp.int32)

    def log_probability(x: jax.Array) -> jax.Array:
        fed = jnp.concatenate([x, gpt.embed(jnp.concatenate([infer, tokens[:, :-1]], axis=1))], axis=1)
        hidden = gpt.hidden(fed)[:, CONFIG.semantic.max_text :]
        logits = jax.nn.log_softmax(gpt.logits(hidden, 0, CONFIG.semantic.vocab))
        return jnp.take_along_axis(logits, tokens[..., None], axis=2).sum()

    x = semantic.prompt(gpt, text, history)
    gradient = jax.jit(jax.grad(log_probability))(x)
    assert gradient.shape == x.shape
    assert (jnp.abs(gradient).max(axis=(0, 2)) > 0).all()
    direction = jax.random.normal(jax.random.key(1), x.shape)
    _, forward = jax.jit(lambda x, d: jax.jvp(log_probability, (x,), (d,)))(x, direction)
    np.testing.assert_allclose(forward, (gradient * direction).sum(), rtol=1e-3, atol=1e-4)


def test_the_head_runs_only_where_it_is_read(bark: Bark) -> None:
    """Of 256 + 6 positions six, and of the vocabulary what may be said."""
    text, history = map(jnp.asarray, prompts())
    tokens = jnp.arange(6)[None]
    program = jax.make_jaxpr(lambda gpt: scoring.all_logits(gpt, CONFIG.semantic, text, history, tokens))(bark.semantic)
    largest = max(
        np.prod(out.aval.shape) / out.aval.shape[-1]
        for equation in program.jaxpr.eqns
        for out in equation.outvars
        if out.aval.shape and out.aval.shape[-1] in (CONFIG.semantic.vocab, CONFIG.semantic.gpt.output_vocab)
    )
    assert largest == 6


def test_forward_mode_through_the_codec() -> None:
    """How the waveform moves with the latents, and with the weights."""
    config = EncodecConfig(filters=4, width=16, ratios=(4, 3), codebooks=3, codebook_size=64)
    codec = Encodec(config, rngs=nnx.Rngs(0))
    codes = jnp.asarray(np.random.default_rng(0).integers(0, config.codebook_size, (1, 3, 12)), jnp.int32)
    latents = codec.quantizer.decode(codes)

    @jax.jit
    def decode(codec: Encodec, latents: jax.Array) -> jax.Array:
        return codec.decoder(latents, codec.decoder.start(1))[0]

    change = jnp.ones_like(latents) / 100
    waveform, moved = jax.jvp(partial(decode, codec), (latents,), (change,))
    assert waveform.shape == moved.shape == (1, 12 * config.hop, 1)
    step = 1e-2
    expected = (decode(codec, latents + step * change) - decode(codec, latents - step * change)) / (2 * step)
    np.testing.assert_allclose(moved, expected, atol=2e-3)
    _, by_weights = jax.jvp(lambda c: decode(c, latents), (codec,), (codec,))
    assert np.isfinite(by_weights).all()
    assert float(jnp.abs(by_weights).max()) > 0


def test_keys_of_steps_differ() -> None:
    keys = seed_keys([1, 2])
    data = [jax.random.key_data(fold_keys(keys, step)) for step in range(3)]
    assert len(np.unique(np.concatenate(data), axis=0)) == 6
