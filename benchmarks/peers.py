"""Who is compared, on the same weights and the same tokens, and do they compute the same?

Axes: B batch, N semantic tokens, T frames, K codebooks, V vocabulary.
"""

import argparse
import gc
import statistics
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, Self, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from bark_jax import Bark, BarkConfig, Settings, Voice, bench
from bark_jax.bench import Row
from bark_jax.models.parameters import held_dtype
from bark_jax.stages.coarse import generate_coarse
from bark_jax.stages.coarse_plan import coarse_steps
from bark_jax.stages.codec import decode_codes
from bark_jax.stages.fine import generate_fine
from bark_jax.stages.semantic import generate_semantic
from benchmarks.harness import FOLDER, interleaved, record

OURS = "bark_jax"
COMPILED = "PyTorch loop, compiled"
PEERS = ("transformers", "PyTorch loop", COMPILED)
STAGES = ("semantic", "coarse", "fine", "codec")
TOLERANCE = 1e-3  # relative error of float32 outputs; nothing is timed beyond it


class Peer(Protocol):
    """One implementation. NumPy arrays in and out; every row of a batch yields the same number of tokens."""

    def semantic(self, texts: np.ndarray, voice: Voice | None, count: int) -> np.ndarray:
        """Text ids [B, n], without offset → semantic tokens [B, count]."""

    def coarse(self, semantic: np.ndarray, voice: Voice | None) -> np.ndarray:
        """Semantic tokens [B, N] → codes [B, 2, T]."""

    def fine(self, coarse: np.ndarray, voice: Voice | None) -> np.ndarray:
        """Codes [B, 2, T] → [B, 8, T]."""

    def codec(self, fine: np.ndarray) -> np.ndarray:
        """Codes [B, 8, T] → waveforms [B, samples]."""

    def step_logits(self, stage: str, prompt: np.ndarray) -> np.ndarray:
        """Logits [B, V] of a step with the last of the tokens [B, n], the others being in the cache."""

    def fine_logits(self, codes: np.ndarray, codebook: int) -> np.ndarray:
        """Codes [B, 8, T] → logits [B, T, V]."""

    def prepare_steps(self, stage: str, prompt: np.ndarray, count: int) -> Callable[[], object]:
        """A call that decodes `count` tokens after a prompt [B, n], all but its last in the cache beforehand."""


Peers: TypeAlias = Mapping[str, Peer]


class Ours:
    """This project, through the functions that `Bark.generate` calls."""

    def __init__(self, bark: Bark, settings: Settings) -> None:
        self.bark, self.config, self.settings = bark, bark.config, settings

    def semantic(self, texts: np.ndarray, voice: Voice | None, count: int) -> np.ndarray:
        rules = self.config.semantic
        settings = self.settings.replace(max_seconds=(count + 0.5) / rules.rate_hz)
        rows = list((texts + rules.text_offset).astype(np.int32))
        return self._run(generate_semantic, self.bark.semantic, rows, voice, settings)

    def coarse(self, semantic: np.ndarray, voice: Voice | None) -> np.ndarray:
        return self._run(generate_coarse, self.bark.coarse, list(semantic), voice, self.settings)

    def fine(self, coarse: np.ndarray, voice: Voice | None) -> np.ndarray:
        return self._run(generate_fine, self.bark.fine, list(coarse), voice, self.settings)

    def codec(self, fine: np.ndarray) -> np.ndarray:
        return np.stack(decode_codes(self.bark.codec, self.config, list(fine)))

    def step_logits(self, stage: str, prompt: np.ndarray) -> np.ndarray:
        length = bench.cache_length(self.config, stage)
        return np.asarray(_step_logits(getattr(self.bark, stage), prompt.astype(np.int32), length))

    def fine_logits(self, codes: np.ndarray, codebook: int) -> np.ndarray:
        return np.asarray(jax.jit(type(self.bark.fine).__call__)(self.bark.fine, codes, codebook))

    def prepare_steps(self, stage: str, prompt: np.ndarray, count: int) -> Callable[[], object]:
        batch, length = prompt.shape
        context = length - 1 + count
        return bench.decoder(
            getattr(self.bark, stage), stage, self.config, batch=batch, context=context, steps=count
        )  # fmt: skip

    def _run(
        self, stage: Callable[..., Any], network: Any, rows: list, voice: Voice | None, settings: Settings
    ) -> np.ndarray:
        batch = len(rows)
        keys = jax.random.split(jax.random.key(0), batch)
        return np.stack(stage(network, self.config, rows, keys, [settings] * batch, [voice] * batch))


@partial(jax.jit, static_argnums=2)
def _step_logits(gpt: Any, prompt: jax.Array, length: int) -> jax.Array:
    begin = jnp.zeros(prompt.shape[0], jnp.int32)
    cache = gpt.prefill(gpt.embed(prompt[:, :-1]), begin, length)
    hidden, _ = gpt.step(gpt.embed(prompt[:, -1]), cache, jnp.int32(prompt.shape[1] - 1), begin)
    return gpt.logits(hidden)


@dataclass(frozen=True, kw_only=True)
class Clip:
    """What the stages are given: random valid tokens, one length for all rows."""

    seconds: float  # of audio asked for
    voice: Voice | None
    texts: np.ndarray  # [B, 24] WordPiece ids, without offset
    semantic: np.ndarray  # [B, N]
    coarse: np.ndarray  # [B, 2, T]
    fine: np.ndarray  # [B, 8, T]

    @classmethod
    def random(cls, config: BarkConfig, *, seconds: float, voice: bool = False, batch: int = 1) -> Self:
        """A clip of that length; its voice has a full history for every stage."""
        rng, rules, codec = np.random.default_rng(0), config.semantic, config.codec
        count = min(rules.max_new, max(1, int(seconds * rules.rate_hz)))
        frames = coarse_steps(config, count) // config.coarse.codebooks
        past = config.fine.max_history + 7
        past_semantic = round(past * rules.rate_hz / codec.frame_rate_hz)
        codes = rng.integers(0, codec.codebook_size, (codec.codebooks, past), np.int32)
        speaker = Voice(semantic=rng.integers(0, rules.vocab, past_semantic), coarse=codes[:2], fine=codes)
        fine = rng.integers(0, codec.codebook_size, (batch, codec.codebooks, frames), np.int32)
        return cls(
            seconds=seconds,
            voice=speaker if voice else None,
            texts=rng.integers(0, rules.text_pad - rules.text_offset, (batch, 24)),
            semantic=rng.integers(0, rules.vocab, (batch, count), np.int32),
            coarse=fine[:, : config.coarse.codebooks],
            fine=fine,
        )


def stage_call(peer: Peer, stage: str, clip: Clip) -> Callable[[], np.ndarray]:
    """One stage of a peer on the clip's tokens."""
    return {
        "semantic": lambda: peer.semantic(clip.texts, clip.voice, clip.semantic.shape[1]),
        "coarse": lambda: peer.coarse(clip.semantic, clip.voice),
        "fine": lambda: peer.fine(clip.coarse, clip.voice),
        "codec": lambda: peer.codec(clip.fine),
    }[stage]


def speak(peer: Peer, clip: Clip) -> dict[str, float]:
    """From text to waveform, each stage on what the one before it made. Seconds of each."""
    seconds, clock = {}, time.perf_counter()
    output = clip.texts
    for stage in STAGES:
        arguments = {"semantic": (clip.voice, clip.semantic.shape[1]), "codec": ()}.get(stage, (clip.voice,))
        output = getattr(peer, stage)(output, *arguments)
        seconds[stage], clock = time.perf_counter() - clock, time.perf_counter()
    return seconds


def compete(calls: Mapping[str, Callable[[], object]], rounds: int, once: Sequence[str] = ()) -> dict[str, list[float]]:
    """Seconds of each call, interleaved; those named in `once` take part in the first round only. Nothing warms up."""
    seconds = interleaved(calls, 1, warm_up=False)
    again = {name: call for name, call in calls.items() if name not in once}
    for name, more in interleaved(again, rounds - 1, warm_up=False).items():
        seconds[name] += more
    return seconds


def peer_builders() -> dict[str, Callable[[Bark, Settings], Peer]]:
    """Name → constructor. PyTorch is imported here, so that what needs no peers runs without it."""
    from benchmarks.torch_bark import TorchLoop
    from benchmarks.torch_compiled import CompiledLoop
    from benchmarks.torch_huggingface import TransformersBark

    return dict(zip(PEERS, (TransformersBark, TorchLoop, CompiledLoop), strict=True))


def enter(bark: Bark, size: str, names: Sequence[str], folder: Path) -> dict[str, Peer]:
    """`gather`, with what is said about the peers recorded."""
    contestants, about = gather(bark, names)
    if about:
        notes = "Relative errors of outputs against ours on random tokens, before anything is timed."
        record(f"peers, {size}", [label(size, bark) | row for row in about], notes, folder=folder)
    return contestants


def gather(bark: Bark, names: Sequence[str], *, context: int = 400) -> tuple[dict[str, Peer], list[Row]]:
    """Us and the peers of these names that run here, and one row on each peer: its error, or why it cannot run.

    Raises SystemExit when float32 outputs differ by more than TOLERANCE.
    """
    settings = Settings.defaults(bark.config).replace(allow_early_stop=False)
    ours = Ours(bark, settings)
    peers: dict[str, Peer] = {OURS: ours}
    rows: list[Row] = []
    for name in names:
        try:
            peer = peer_builders()[name](bark, settings)
            errors = compare(ours, peer, context)
        except Exception as error:  # any error that keeps a peer from running is its result
            rows.append({"implementation": name, "note": reason(error)})
            continue
        rows.append({"implementation": name, **errors, "note": _about(peer)})
        if held_dtype(bark.semantic) == jnp.float32 and max(errors.values()) > TOLERANCE:
            raise SystemExit(f"{name} does not compute what {OURS} does: relative errors {errors}")
        peers[name] = peer
    return peers, rows


def compare(ours: Ours, peer: Peer, context: int) -> dict[str, float]:
    """Relative error ‖theirs − ours‖ / ‖ours‖ of the logits of steps and of a fine pass, and of a waveform."""
    config, rng = ours.config, np.random.default_rng(1)
    prompt = rng.integers(0, config.semantic.vocab, (1, context))
    codes = rng.integers(0, config.codec.codebook_size, (1, config.codec.codebooks, 64), np.int32)
    outputs: dict[str, Callable[[Peer], np.ndarray]] = {
        "semantic error": lambda p: p.step_logits("semantic", prompt),
        "coarse error": lambda p: p.step_logits("coarse", prompt),
        "fine error": lambda p: p.fine_logits(codes, 4),
        "codec error": lambda p: p.codec(codes),
    }
    return {name: _relative_error(output(peer), output(ours)) for name, output in outputs.items()}


def reason(error: BaseException) -> str:
    """Why something could not run, in one line."""
    return textwrap.shorten(f"did not run: {type(error).__name__}: {error}", 300)


def release() -> None:
    """Give back the memory of models that nothing refers to any more."""
    gc.collect()
    jax.clear_caches()


def add_options(parser: argparse.ArgumentParser) -> None:
    """What all scripts with peers take."""
    parser.add_argument("--dtype", help="of parameters and computation (default: float32 on CPU, else bfloat16)")
    parser.add_argument(
        "--peers", nargs="*", default=PEERS, choices=PEERS, metavar="PEER", help=f"of: {'; '.join(PEERS)}"
    )
    parser.add_argument("--out", type=Path, default=FOLDER, help="the folder of RESULTS.md")


def label(size: str, bark: Bark) -> Row:
    """The columns that say which model was measured."""
    return {"size": size, "dtype": str(held_dtype(bark.semantic))}


def summary(seconds: Mapping[str, Sequence[float]]) -> list[Row]:
    """Median and number of the calls of each implementation, and our median as a part of its."""
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    return [
        {"implementation": name, "s": median, "rounds": len(seconds[name]), "ours/this": medians[OURS] / median}
        for name, median in medians.items()
    ]


def _relative_error(theirs: np.ndarray, ours: np.ndarray) -> float:
    a, b = np.float64(theirs), np.float64(ours)
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def _about(peer: Peer) -> str:
    attention = getattr(peer, "attention", None)
    return f"attention: {attention}; {'; '.join(peer.refused)}" if attention else ""
