"""Training steps: what they change, what they leave, and that parts of a batch add up."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bark_jax import BarkConfig, Voice
from bark_jax.measuring import compilations
from bark_jax.models.parameters import parameters
from bark_jax.training import (
    CodecTraining,
    LoraConfig,
    Loss,
    TrainConfig,
    Trainer,
    TrainingError,
    TrainState,
    coarse_examples,
    codec_loss,
    fine_example,
    sample_waveform,
    semantic_example,
    semantic_loss,
    stack,
)
from bark_jax.training.batches import Batch
from bark_jax.training.codec import start_codebooks
from bark_jax.training.optimizers import MUON_STEP, learning_rate
from bark_jax.training.step import CODEBOOKS

from small import CONFIG, STAGES, assert_same, make_trainer, networks, random_batch

NETWORKS = networks()
BATCHES = {stage: random_batch(stage) for stage in STAGES}
TRANSFORMERS = ("semantic", "coarse", "fine")


def copied(tree: Any) -> Any:
    """On the host: a step takes the buffers of its state."""
    return jax.tree.map(np.array, tree)


def momentum(state: TrainState) -> dict[str, np.ndarray]:
    """After one step: the gradients, to a factor."""
    return optax.tree.get(state.optimizer, "mu")


@pytest.mark.parametrize(("stage", "optimizer"), [*((stage, "adamw") for stage in TRANSFORMERS), ("semantic", "muon")])
def test_one_batch_is_learned_by_heart(stage: str, optimizer: str) -> None:
    trainer = make_trainer(stage, optimizer=optimizer)
    state, frozen = trainer.start(NETWORKS[stage])
    state, _ = trainer.step(state, frozen, BATCHES[stage])
    with compilations() as compiled:
        for _ in range(trainer.train.steps - 1):
            state, metrics = trainer.step(state, frozen, BATCHES[stage])
    metrics.check()
    assert compiled == []
    assert metrics.loss < 0.02
    assert trainer.evaluate(state, frozen, BATCHES[stage]).mean < 0.02
    assert state.step == trainer.train.steps


@pytest.mark.parametrize("stage", ["semantic", "codec"])
def test_microbatches_add_up_to_the_batch(stage: str) -> None:
    found = []
    for microbatches in (1, 2):
        trainer = make_trainer(stage, microbatches=microbatches)
        found.append(trainer.step(*trainer.start(NETWORKS[stage]), BATCHES[stage]))
    (whole, metrics), (parts, same_metrics) = found
    np.testing.assert_allclose(same_metrics.loss, metrics.loss, rtol=1e-5)
    difference = jax.tree.map(jnp.subtract, momentum(parts), momentum(whole))
    assert optax.tree.norm(difference) < 1e-4 * optax.tree.norm(momentum(whole))
    if stage == "codec":
        np.testing.assert_allclose(parts.codebooks.use, whole.codebooks.use, rtol=1e-5)
        np.testing.assert_allclose(parts.codebooks.table, whole.codebooks.table, rtol=1e-4, atol=1e-5)


def test_muon_moves_matrices_of_blocks_as_far_in_several_directions() -> None:
    trainer = make_trainer("fine", optimizer="muon")
    state, frozen = trainer.start(NETWORKS["fine"])
    before = copied(state.trained)
    state, metrics = trainer.step(state, frozen, BATCHES["fine"])
    for path, old in before.items():
        moved = (np.array(state.trained[path]) - old) / metrics.learning_rate
        if path.startswith("blocks.") and old.ndim == 2:
            for matrix in np.split(moved, 3 if "qkv" in path else 1):  # queries, keys and values each have their own
                lengths = np.linalg.svd(matrix, compute_uv=False) / (MUON_STEP * max(matrix.shape) ** 0.5)
                assert 0.6 < lengths[2] <= lengths[0] < 1.3, path  # in three: four rows give gradients of low rank
        else:
            np.testing.assert_allclose(np.abs(moved).max(), 1, rtol=0.01)


def test_averages_follow_the_parameters() -> None:
    trainer = make_trainer("semantic")
    state, frozen = trainer.start(NETWORKS["semantic"])
    expected = copied(state.average)
    for step in range(3):
        state, _ = trainer.step(state, frozen, BATCHES["semantic"])
        decay = min(0.15, (1 + step) / (10 + step))
        expected = jax.tree.map(lambda a, b, d=decay: d * a + (1 - d) * b, expected, copied(state.trained))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), state.average, expected)
    assert_same(parameters(trainer.network(state, frozen)), dict(state.average))
    assert_same(parameters(trainer.network(state, frozen, averaged=False)), dict(state.trained))


def test_frozen_parameters_stay_and_have_no_optimiser() -> None:
    network = NETWORKS["fine"]
    trainer = make_trainer("fine", trainable=("blocks.1.*", "norm.scale"))
    state, frozen = trainer.start(network)
    before = copied(parameters(network))
    for _ in range(3):
        state, metrics = trainer.step(state, frozen, BATCHES["fine"])
    metrics.check()
    assert_same(parameters(network), before)  # the caller's network is still there
    after = parameters(trainer.network(state, frozen))
    for path, value in before.items():
        moved = path.startswith("blocks.1.") or path == "norm.scale"
        assert np.array_equal(after[path], value) != moved, path
    assert set(momentum(state)) == set(state.trained) == before.keys() - frozen.keys()


@pytest.mark.parametrize("stage", ["semantic", "codec"])
def test_a_loss_that_is_not_finite_is_reported_and_changes_nothing(stage: str) -> None:
    """A damaged frozen parameter, or a damaged batch; the step after it is as if nothing had been."""
    trainer = make_trainer(stage, trainable=("blocks.*",) if stage == "semantic" else ("*",))
    state, frozen = trainer.start(NETWORKS[stage])
    good = frozen, BATCHES[stage]
    bad = {path: x * np.nan for path, x in frozen.items()}, BATCHES[stage]
    if stage == "codec":
        bad = frozen, BATCHES[stage]._replace(waveform=BATCHES[stage].waveform * np.nan)
    state, _ = trainer.step(state, *good)
    before = copied(state)
    state, metrics = trainer.step(state, *bad)
    with pytest.raises(TrainingError, match=r"step 1 has the loss nan .* the state before it is kept"):
        metrics.check()
    assert_same(state, before)
    state, metrics = trainer.step(state, *good)
    metrics.check()
    assert state.step == 2


@pytest.mark.parametrize("stage", ["semantic", "fine"])
def test_bfloat16_computes_about_the_same_and_trains_float32(stage: str) -> None:
    losses = []
    for dtype in ("float32", "bfloat16"):
        trainer = make_trainer(stage, dtype=dtype)
        state, metrics = trainer.step(*trainer.start(NETWORKS[stage]), BATCHES[stage])
        floats = jax.tree.leaves((state.trained, state.average, momentum(state)))
        assert {x.dtype for x in floats} == {jnp.dtype("float32")}
        losses.append(float(metrics.loss))
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.01)


def test_the_learning_rate_warms_up_and_falls_in_half_a_cosine() -> None:
    trainer = make_trainer("fine", steps=110, warmup_steps=9, learning_rate=0.5, final_learning_rate=0.2)
    rates = [float(trainer.learning_rate(jnp.int32(step))) for step in (0, 4, 9, 110, 500)]
    np.testing.assert_allclose(rates, [0.05, 0.25, 0.5, 0.1, 0.1], rtol=1e-4)


@pytest.mark.parametrize(("steps", "warmup"), [(1, 0), (30, 3), (4999, 499), (10_000, 500)])
def test_the_warm_up_fits_the_run(steps: int, warmup: int) -> None:
    train = TrainConfig(steps=steps)
    assert train.warmup == warmup
    rates = [float(learning_rate(train, jnp.int32(step))) for step in (0, warmup, steps)]
    np.testing.assert_allclose(rates, [3e-4 / (warmup + 1), 3e-4, 3e-5], rtol=1e-4)


def halved(network: Any, config: BarkConfig, batch: Any, key: jax.Array) -> Loss:
    """A loss of one's own, with a part for the log."""
    loss = semantic_loss(network, config, batch)
    return Loss(loss.total / 2, loss.terms, {"whole": loss.total})


def test_an_optax_transform_and_a_loss_of_ones_own() -> None:
    trainer = dataclasses.replace(make_trainer("semantic"), transform=optax.sgd(0.5), loss_function=halved)
    state, frozen = trainer.start(NETWORKS["semantic"])
    before = copied(state.trained)

    def expected_loss(parameters: Any) -> jax.Array:
        return semantic_loss(trainer.assemble(parameters, {}, None), CONFIG, BATCHES["semantic"]).mean / 2

    gradients = jax.grad(expected_loss)(jax.tree.map(jnp.asarray, before))
    state, metrics = trainer.step(state, frozen, BATCHES["semantic"])
    metrics.check()
    assert np.isnan(metrics.learning_rate)
    np.testing.assert_allclose(metrics.parts["whole"], 2 * metrics.loss, rtol=1e-6)
    for path, old in before.items():
        np.testing.assert_allclose(state.trained[path], old - 0.5 * np.array(gradients[path]), rtol=1e-4, atol=1e-6)
    assert trainer.evaluate(state, frozen, BATCHES["semantic"]).mean > 0


def test_a_transform_may_keep_copies_of_the_parameters() -> None:
    """Steps donate their state: no buffer may be in it twice."""
    keeping = optax.GradientTransformation(lambda parameters: parameters, lambda changes, kept, _: (changes, kept))
    trainer = dataclasses.replace(make_trainer("fine"), transform=optax.chain(optax.sgd(0.1), keeping))
    state, frozen = trainer.start(NETWORKS["fine"])
    trainer.step(state, frozen, BATCHES["fine"])[1].check()


def test_a_codec_loss_without_its_assignments() -> None:
    trainer = dataclasses.replace(make_trainer("codec"), loss_function=halved_codec)
    with pytest.raises(TrainingError, match=r"must return \(Loss, Assignments\)"):
        trainer.step(*trainer.start(NETWORKS["codec"]), BATCHES["codec"])


def halved_codec(network: Any, config: BarkConfig, batch: Any, key: jax.Array) -> Loss:
    return codec_loss(network, config.codec.sample_rate, CodecTraining(windows=(16,)), batch, key)[0]


def test_only_matrices_decay() -> None:
    """A network of zeros has no gradients; what moves a parameter then is its decay."""
    trainer = make_trainer("fine", weight_decay=0.5, trainable=("position_embedding", "norm.scale"), warmup_steps=0)
    network = networks(scale=0)["fine"]
    network.position_embedding[...] = jnp.ones_like(network.position_embedding[...])
    state, metrics = trainer.step(*trainer.start(network), BATCHES["fine"])
    assert metrics.gradient_norm == 0
    np.testing.assert_allclose(state.trained["position_embedding"], 1 - 1e-2 * 0.5, rtol=1e-6)
    np.testing.assert_array_equal(state.trained["norm.scale"], 1)


def test_gradients_are_clipped_together() -> None:
    trainer = make_trainer("coarse", clip_norm=1e-3)
    state, metrics = trainer.step(*trainer.start(NETWORKS["coarse"]), BATCHES["coarse"])
    assert metrics.gradient_norm > 0.1
    np.testing.assert_allclose(optax.tree.norm(momentum(state)) / (1 - trainer.train.beta1), 1e-3, rtol=1e-4)


def start_with_another_width() -> object:
    gpt = dataclasses.replace(CONFIG.fine.gpt, width=64)
    config = dataclasses.replace(CONFIG, fine=dataclasses.replace(CONFIG.fine, gpt=gpt))
    return Trainer(config=config, stage="fine", train=TrainConfig()).start(NETWORKS["fine"])


def step_of_odd_rows() -> object:
    trainer = make_trainer("fine", microbatches=3)
    return trainer.step(*trainer.start(NETWORKS["fine"]), BATCHES["fine"])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: make_trainer("voice"), TrainingError, "no stage 'voice': choose from semantic, coarse, fine, codec"),
        (lambda: Trainer(config=CONFIG, stage="codec", train=TrainConfig(), lora=LoraConfig()), TrainingError, "lora"),
        (
            lambda: make_trainer("fine", trainable=("nothing.*",)).start(NETWORKS["fine"]),
            TrainingError,
            r"no fine parameter is called nothing\.\*",
        ),
        (start_with_another_width, TrainingError, "not a fine network of this configuration"),
        (step_of_odd_rows, TrainingError, "4 rows cannot be divided into 3"),
        (lambda: TrainConfig(learning_rate=0), TrainingError, "learning_rate must be > 0, not 0"),
        (lambda: TrainConfig(steps=5, warmup_steps=5), TrainingError, r"warmup_steps must be in 0 … 4, .*not 5"),
        (lambda: TrainConfig(dtype="float16"), TrainingError, "float32 or bfloat16"),
        (lambda: TrainConfig(optimizer="sgd"), TrainingError, "adamw or muon"),
        (lambda: make_trainer("codec", optimizer="muon"), TrainingError, "choose the optimizer adamw"),
        (
            lambda: Trainer(config=CONFIG, stage="fine", train=TrainConfig(optimizer="muon"), lora=LoraConfig()),
            TrainingError,
            "choose the optimizer adamw",
        ),
        (lambda: TrainConfig(clip_norm=float("nan")), TrainingError, "clip_norm"),
        (lambda: CodecTraining(windows=(12,)), TrainingError, "multiples of 8"),
        (lambda: CodecTraining(dead_use=0), TrainingError, r"dead_use must be in \(0, 1\)"),
        (lambda: LoraConfig(rank=0), TrainingError, "rank must be ≥ 1"),
    ],
)
def test_what_cannot_be_trained_is_refused(make: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("size", ["small", "large"])
def test_published_sizes_fit_together(size: str, stage: str) -> None:
    """A whole step, from shapes alone."""
    config = BarkConfig.preset(size)
    trainer = Trainer(config=config, stage=stage, train=TrainConfig(dtype="bfloat16", microbatches=2))
    trained = parameters(trainer.abstract())
    table = trained.pop(CODEBOOKS, None)

    def start(trained: dict[str, jax.Array], table: jax.Array | None) -> TrainState:
        optimizer = trainer.optimizer().init(trained)
        return TrainState(jnp.int32(0), trained, optimizer, trained, None if table is None else start_codebooks(table))

    state = jax.eval_shape(start, trained, table)
    after, metrics = jax.eval_shape(trainer.step, state, {}, longest_batch(config, stage))
    assert jax.tree.map(lambda x: (x.shape, x.dtype), after) == jax.tree.map(lambda x: (x.shape, x.dtype), state)
    assert metrics.loss.shape == ()


def longest_batch(config: BarkConfig, stage: str) -> Batch:
    """Two rows that fill every position."""
    clip = Voice(semantic=np.zeros(768, int), coarse=np.zeros((2, 1154), int), fine=np.zeros((8, 1154), int))
    examples: dict[str, Callable[[], Any]] = {
        "semantic": lambda: semantic_example(config, np.full(256, 99), clip.semantic, clip),
        "coarse": lambda: coarse_examples(config, clip, clip)[-1],
        "fine": lambda: fine_example(config, clip.fine, codebook=7, start=130, known=512),
        "codec": lambda: sample_waveform(np.zeros(24_000), 24_000, np.random.default_rng(0)),
    }
    return stack([examples[stage]()] * 2)
