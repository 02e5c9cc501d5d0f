"""The stages' programs with shapes in place of arrays: what a compiler needs, and nothing that needs memory."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, SingleDeviceSharding
from jax.sharding import PartitionSpec as P

from bark_jax import BarkConfig, Settings
from bark_jax.models.parameters import abstract_network, map_parameters
from bark_jax.policy import Policy
from bark_jax.sharding import DATA, parameter_sharding
from bark_jax.stages import coarse, coarse_plan, codec, fine, semantic
from bark_jax.stages.noise import seed_keys
from bark_jax.stages.sampling import Sampling

SECONDS = 10  # of audio, for the programs that depend on it


class Program(NamedTuple):
    """A jitted function and its arguments, static ones as they are, the others as shapes."""

    function: Any
    arguments: tuple[Any, ...]
    cache: tuple[int, ...] | None = None  # the shape of a layer's keys, of the programs that decode


class Place(NamedTuple):
    """Where programs are to run."""

    devices: list[Any]
    policy: Policy
    mesh: Mesh | None = None

    def put(self, tree: Any) -> Any:
        """Shapes on the devices, rows of a batch over "data"."""

        def sharding(leaf: Any) -> Any:
            if self.mesh is None:
                return SingleDeviceSharding(self.devices[0])
            return NamedSharding(self.mesh, P(DATA) if leaf.ndim else P())

        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding(x)), tree)

    def network(self, config: BarkConfig, name: str, dtype: str) -> Any:
        """A network's shapes on the devices."""

        def put(path: str, leaf: Any) -> Any:
            mesh = self.mesh
            sharding = parameter_sharding(path, mesh) if mesh else SingleDeviceSharding(self.devices[0])
            return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

        return map_parameters(put, abstract_network(config, name, param_dtype=dtype, dtype=dtype))


Make = Callable[[Place, BarkConfig, str, int], Program]


def shapes(function: Callable[..., Any], *arguments: Any) -> Any:
    """The shapes of what a function would return."""
    return jax.eval_shape(function, *arguments)


def settings(config: BarkConfig, batch: int) -> list[Settings]:
    """The defaults: top-k and top-p are not used."""
    return [Settings.defaults(config)] * batch


def rules(config: BarkConfig, stage: str, batch: int) -> tuple[Any, Any]:
    """Keys and sampling of a batch."""
    return shapes(lambda: (seed_keys(range(batch)), Sampling.of(settings(config, batch), stage)))


def semantic_prefill(place: Place, config: BarkConfig, dtype: str, batch: int) -> Program:
    """The prompt of the semantic stage."""
    gpt, own = place.network(config, "semantic", dtype), config.semantic
    ids = place.put(jax.ShapeDtypeStruct((batch, own.max_text), jnp.int32))
    sharding = NamedSharding(place.mesh, P(DATA)) if place.mesh else None
    return Program(semantic._prefill, (gpt, own, ids, ids, semantic.NO_HOOKS, place.policy, sharding))


def semantic_decode(place: Place, config: BarkConfig, dtype: str, batch: int) -> Program:
    """The steps of the semantic stage."""
    gpt, own = place.network(config, "semantic", dtype), config.semantic
    ids = jax.ShapeDtypeStruct((batch, own.max_text), jnp.int32)
    state = shapes(lambda gpt, x: semantic.prefill(gpt, own, x, x, policy=place.policy), gpt, ids)
    stop = shapes(lambda: semantic.stop_rule(own, settings(config, batch)))
    keys, sampling = rules(config, "semantic", batch)
    until = jax.ShapeDtypeStruct((), jnp.int32)
    state, keys, sampling, stop, until = place.put((state, keys, sampling, stop, until))
    arguments = (gpt, own, state, keys, sampling, stop, until, semantic.NO_HOOKS, place.policy)
    return Program(semantic._advance, arguments, state.cache.keys[0].shape)


def _coarse(place: Place, config: BarkConfig, dtype: str, batch: int) -> tuple[Any, Any, Any, int]:
    gpt, own = place.network(config, "coarse", dtype), config.coarse
    tokens = [np.zeros(int(SECONDS * config.semantic.rate_hz), np.int32)] * batch
    own_settings = settings(config, batch)
    histories = [coarse_plan.coarse_history(config, None, s) for s in own_settings]
    plan = coarse_plan.plan_windows(
        config, tokens, histories, own_settings, coarse_plan.capacity(config, len(tokens[0]))
    )
    flat = coarse_plan.flat_buffer(config, [x for _, x in histories], len(plan.action) * own.window)
    state = shapes(lambda gpt, x: coarse.start(gpt, config, x), gpt, jax.ShapeDtypeStruct(flat.shape, jnp.int32))
    return gpt, plan._replace(action=plan.action), state, own.max_semantic + own.max_history


def coarse_prefill(place: Place, config: BarkConfig, dtype: str, batch: int) -> Program:
    """The longest prompt of the coarse stage."""
    gpt, plan, state, length = _coarse(place, config, dtype, batch)
    on_device = coarse_plan.Plan(plan.action, *place.put(plan[1:]))
    return Program(coarse._prefill, (gpt, config, on_device, place.put(state), length, place.policy))


def coarse_decode(place: Place, config: BarkConfig, dtype: str, batch: int) -> Program:
    """The steps of the coarse stage."""
    gpt, plan, state, length = _coarse(place, config, dtype, batch)
    prefill = partial(coarse.prefill, length=length, policy=place.policy)
    state = shapes(lambda gpt, plan, state: prefill(gpt, config, plan, state), gpt, plan, state)
    keys, sampling = rules(config, "coarse", batch)
    until = jax.ShapeDtypeStruct((), jnp.int32)
    state, keys, sampling, until = place.put((state, keys, sampling, until))
    arguments = (gpt, config, state, keys, sampling, until, coarse.NO_HOOKS, place.policy)
    return Program(coarse._advance, arguments, state.cache.keys[0].shape)


def fine_decode(place: Place, config: BarkConfig, dtype: str, batch: int) -> Program:
    """The windows of the fine stage."""
    model = place.network(config, "fine", dtype)
    frames = [int(SECONDS * config.codec.frame_rate_hz)] * batch
    buffer = (batch, config.codec.codebooks, config.fine.max_history + codec.frame_capacity(config, frames[0]))
    state = shapes(lambda model, x: fine.start(model, x), model, jax.ShapeDtypeStruct(buffer, jnp.int32))
    keys, sampling = rules(config, "fine", batch)
    number = jax.ShapeDtypeStruct((), jnp.int32)
    placed = place.put((state, fine.plan_rows(config, frames, [0] * batch), keys, sampling, number, number))
    return Program(fine._advance, (model, config, *placed, config.coarse.codebooks, fine.NO_HOOKS, place.policy))


def codec_decode(place: Place, config: BarkConfig, dtype: str, batch: int) -> Program:
    """The waveform."""
    network = place.network(config, "codec", dtype)
    frames = codec.frame_capacity(config, int(SECONDS * config.codec.frame_rate_hz))
    codes = jax.ShapeDtypeStruct((batch, config.codec.codebooks, frames), jnp.int32)
    placed = place.put((codes, jax.ShapeDtypeStruct((batch,), jnp.int32)))
    return Program(codec._decode, (network, *placed, place.policy.codec_piece))


PROGRAMS: dict[str, Make] = {
    "semantic prefill": semantic_prefill,
    "semantic": semantic_decode,
    "coarse prefill": coarse_prefill,
    "coarse": coarse_decode,
    "fine": fine_decode,
    "codec": codec_decode,
}
