"""The networks and where they are: batches of ids and options → tokens, audio, scores.

Nothing here reads a text or looks for a voice: `bark_jax.frontend` does, and `bark_jax.bark` puts both together.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jax.sharding import Mesh

from bark_jax.config import NETWORKS, BarkConfig
from bark_jax.generation import Generation, Tokens
from bark_jax.inputs import Options
from bark_jax.memory import batch_that_fits, clip_bytes
from bark_jax.models.encodec import Encodec
from bark_jax.models.gpt import GPT
from bark_jax.models.parameters import Put, held_dtype, map_parameters
from bark_jax.policy import Policy, default_device
from bark_jax.settings import Settings
from bark_jax.sharding import DATA, pad_batch, put_parameter
from bark_jax.stages.coarse import generate_coarse
from bark_jax.stages.codec import decode_codes, decode_pieces, encode_waveform
from bark_jax.stages.fine import generate_fine
from bark_jax.stages.hooks import NO_HOOKS, Hooks, Recorded
from bark_jax.stages.noise import fold_keys, seed_keys
from bark_jax.stages.progress import Progress, StageProgress
from bark_jax.stages.scoring import attention_to_text, score_semantic
from bark_jax.stages.semantic import generate_semantic
from bark_jax.voices.voice import Voice

_GENERATORS: dict[str, Callable[..., list[np.ndarray]]] = {
    "semantic": generate_semantic,
    "coarse": generate_coarse,
    "fine": generate_fine,
}


class Engine:
    """Four networks on their devices, and the stages that run them on batches of any size."""

    def __init__(
        self, config: BarkConfig, networks: Mapping[str, nnx.Module], *, mesh: Mesh | None = None,
        offload: bool = False, name: str | None = None,
    ) -> None:  # fmt: skip
        """networks: where they are to be used: on the mesh if there is one; in NumPy arrays to be offloaded.

        name: of the model, kept in its clips.
        """
        self.config = config
        self.networks = {name: networks[name] for name in NETWORKS}
        self.mesh = mesh
        self.offload = offload
        self.policy = Policy.of_mesh(mesh) if offload else Policy.of(self.networks["codec"])
        self.name = name

    def __repr__(self) -> str:
        rows = [f"Engine of {self.name or 'unnamed'}{', weights offloaded' if self.offload else ''}"]
        for name, network in self.networks.items():
            leaves = jax.tree.leaves(network)
            dtype, size = jnp.dtype(getattr(network, "dtype", jnp.float32)), sum(leaf.size for leaf in leaves)
            held = held_dtype(network)
            stored = "" if held == dtype else f", stored in {held}"
            rows.append(f"  {name:9} {size / 1e6:6.1f} M parameters in {dtype}{stored}")
        return "\n".join([*rows, f"  on {self._devices()}"])

    def _devices(self) -> str:
        devices = list(self.mesh.devices.flat) if self.mesh else [default_device()]
        if not self.mesh and not self.offload:
            leaf = jax.tree.leaves(self.networks["codec"])[0]
            devices = list(leaf.devices()) if isinstance(leaf, jax.Array) else devices
        axes = f" as {dict(self.mesh.shape)}" if self.mesh else ""
        return f"{len(devices)} × {devices[0].device_kind}{axes}"

    @property
    def batch_size(self) -> int:
        """Clips that are made side by side unless the caller says how many.

        One on a CPU, where a batch takes as long as its clips one after the other, and 4 on other devices; on a mesh,
        as many for each part of "data".
        """
        return self.policy.batch_size * (self.mesh.shape[DATA] if self.mesh else 1)

    def network(self, name: str) -> nnx.Module:
        """A network on its devices: if offloaded a copy, which is freed when the caller drops it."""
        network = self.networks[name]
        return map_parameters(placement(self.mesh), network) if self.offload else network

    def generate_clips(
        self,
        texts: Sequence[str],
        ids: Sequence[np.ndarray],
        options: Sequence[Options],
        progress: StageProgress | None = None,
        hooks: Mapping[str, Hooks] | None = None,
    ) -> list[Generation]:
        """A clip for each item of a batch: its token ids, int32 [≤ max_text], and its options; at least one item.

        texts: what the ids were made from, kept in the results. progress: called with (stage, done, in all).
        hooks: of each stage; what they ask for is in the clips' `outputs`.
        """
        recorded: dict[str, Recorded] = {}
        tokens, timings = self.generate_tokens(ids, options, progress, hooks, recorded)
        started = time.perf_counter()
        waveforms = self.run("codec", [t.fine for t in tokens], (), partial(progress, "codec") if progress else None)
        timings["codec"] = time.perf_counter() - started
        rate = self.config.codec.sample_rate
        return [
            Generation(
                text=t, seed=o.seed, sample_rate=rate, waveform=w, timings=timings, model=self.name, **made._asdict(),
                outputs={stage: {name: rows[i] for name, rows in own.items()} for stage, own in recorded.items()},
            )
            for i, (t, o, w, made) in enumerate(zip(texts, options, waveforms, tokens, strict=True))
        ]  # fmt: skip

    def generate_tokens(
        self,
        ids: Sequence[np.ndarray],
        options: Sequence[Options],
        progress: StageProgress | None = None,
        hooks: Mapping[str, Hooks] | None = None,
        recorded: dict[str, Recorded] | None = None,
    ) -> tuple[list[Tokens], dict[str, float]]:
        """`generate_clips` without the codec: the tokens of each item, and the seconds of each stage.

        recorded: takes, for each stage, the outputs that its hooks ask for.
        """
        results: dict[str, list[np.ndarray]] = {}
        timings: dict[str, float] = {}
        inputs = ids
        for stage in Tokens._fields:
            started, own = time.perf_counter(), (hooks or {}).get(stage, NO_HOOKS)
            outputs = recorded.setdefault(stage, {}) if recorded is not None and own.outputs else None
            watch = partial(progress, stage) if progress else None
            inputs = self.run(stage, inputs, options, watch, hooks=own, recorded=outputs)
            results[stage], timings[stage] = list(inputs), time.perf_counter() - started
        return [Tokens(*made) for made in zip(*results.values(), strict=True)], timings

    def run(
        self, stage: str, inputs: Sequence[np.ndarray], options: Sequence[Options], progress: Progress | None = None,
        *, hooks: Hooks = NO_HOOKS, recorded: Recorded | None = None,
    ) -> list[np.ndarray]:  # fmt: skip
        """One stage, by the name of its network, over a batch: one array for each item, as the stage documents it.

        The codec takes no options. Copies of the first item fill up the mesh, and are dropped from the result.
        """
        count = len(inputs)
        if stage == "fine" and count > 1 and self.policy.fine_alone and self.mesh is None and recorded is None:
            return self._one_by_one(stage, inputs, options, progress, hooks)
        with self._memory(stage, count):
            made = self._run(stage, inputs, pad_batch(options, self.mesh), progress, hooks, recorded)
            return [np.array(row) for row in made[:count]]  # copies: a view keeps the whole batch in memory

    def _one_by_one(
        self, stage: str, inputs: Sequence[np.ndarray], options: Sequence[Options], progress: Progress | None,
        hooks: Hooks,
    ) -> list[np.ndarray]:  # fmt: skip
        """The clips of a batch, each by itself."""
        rows = []
        for row, (own, option) in enumerate(zip(inputs, options, strict=True)):

            def watch(done: int, total: int, row: int = row) -> None:
                assert progress is not None
                progress(row * total + done, len(inputs) * total)

            rows += self.run(stage, [own], [option], watch if progress else None, hooks=hooks)
        return rows

    def _run(
        self, stage: str, inputs: Sequence[np.ndarray], options: Sequence[Options], progress: Progress | None,
        hooks: Hooks, recorded: Recorded | None,
    ) -> list[np.ndarray]:  # fmt: skip
        inputs, network = pad_batch(inputs, self.mesh), self.network(stage)
        if stage == "codec":
            return decode_codes(cast(Encodec, network), self.config, inputs, progress, self.policy)
        keys = stage_keys([option.seed for option in options], stage)
        settings, voices = [option.settings for option in options], [option.voice for option in options]
        return _GENERATORS[stage](
            network, self.config, inputs, keys, settings, voices, progress,
            hooks=hooks, recorded=recorded, policy=self.policy,
        )  # fmt: skip

    def _memory(self, stage: str, count: int) -> contextlib.AbstractContextManager[None]:
        """Names a batch that would fit, should this one not."""
        device = self.mesh.devices.flat[0] if self.mesh else default_device()
        network = self.networks[stage]
        held = [network] if self.offload else list(self.networks.values())
        clip = clip_bytes(self.config, stage, getattr(network, "dtype", "float32"), self.policy)
        weights = sum(getattr(leaf, "nbytes", 0) for leaf in jax.tree.leaves(held))  # shapes alone hold nothing
        parts = self.mesh.shape[DATA] if self.mesh else 1
        return batch_that_fits(device, count, stage=stage, weights=weights, clip=clip, devices=parts)

    def warm_up(self, batch_size: int, settings: Settings, *, scores: bool = False) -> None:
        """Compile, or load from the compile cache, all that batches of this size run: a clip as short as can be.

        scores: also what ranks takes.
        """
        codec, short = self.config.codec, settings.replace(max_seconds=1e-3, allow_early_stop=False)
        codes = np.zeros((codec.codebooks, 3), np.int32)
        voice = Voice(semantic=np.zeros(2, np.int32), coarse=codes[: self.config.coarse.codebooks], fine=codes)
        ids = [np.zeros(1, np.int32)] * batch_size
        for own in (None, voice):  # their coarse prompts have different lengths
            options = [Options(voice=own, seed=0, settings=short)] * batch_size
            tokens, _ = self.generate_tokens(ids, options, lambda *_: None)
        self.run("codec", [made.fine for made in tokens], ())
        for _ in self.decode_pieces(tokens[0].fine):
            pass
        if scores:
            self.score_semantic(ids, [made.semantic for made in tokens], options)

    def decode(self, codes: np.ndarray, progress: Progress | None = None) -> np.ndarray:
        """Codes, int32 [≤ K, T] → waveform, float32 [T · hop], −1 … 1."""
        return self.run("codec", [codes], (), progress)[0]

    def decode_pieces(self, codes: np.ndarray) -> Iterator[np.ndarray]:
        """`decode` in pieces of 75 frames: float32 [≤ 75 · hop] each time."""
        codec = cast(Encodec, self.network("codec"))
        return (rows[0] for rows in decode_pieces(codec, pad_batch([codes], self.mesh)))

    def encode(self, waveform: np.ndarray) -> np.ndarray:
        """Mono waveform, float32 [N] at the codec's sample rate → codes, int32 [K, ⌈N / hop⌉]."""
        return encode_waveform(cast(Encodec, self.network("codec")), waveform)

    def score_semantic(
        self, ids: Sequence[np.ndarray], semantic: Sequence[np.ndarray], options: Sequence[Options]
    ) -> list[float | None]:
        """The mean log-probability, in nats, of each item's semantic tokens given its text and voice; None if empty."""
        gpt = cast(GPT, self.network("semantic"))
        texts, tokens = pad_batch(ids, self.mesh), pad_batch(semantic, self.mesh)
        voices = [option.voice for option in pad_batch(options, self.mesh)]
        return score_semantic(gpt, self.config, texts, tokens, voices, self.policy)[: len(ids)]

    def attention_to_text(
        self, ids: Sequence[np.ndarray], semantic: Sequence[np.ndarray], options: Sequence[Options]
    ) -> list[np.ndarray]:
        """What every head looked at in the text, float32 [heads, N, text], per item: one by one, as that is large."""
        gpt = cast(GPT, self.network("semantic"))
        found = []
        for text, tokens, option in zip(ids, semantic, options, strict=True):
            rows = pad_batch([(text, tokens, option.voice)], self.mesh)
            texts, made, voices = (list(column) for column in zip(*rows, strict=True))
            found.append(attention_to_text(gpt, self.config, texts, made, voices, self.policy)[0])
        return found


def placement(mesh: Mesh | None, *, offload: bool = False) -> Put:
    """Where parameters go: on the mesh or the default device; to be offloaded, they stay in NumPy arrays."""
    return (lambda _, value: value) if offload else partial(put_parameter, mesh=mesh)


def stage_keys(seeds: Sequence[int], stage: str) -> Array:
    """One typed key for this stage of each item's generation, [B], from the seed of the whole."""
    return fold_keys(seed_keys(seeds), NETWORKS.index(stage))
