"""Suno's stages, as in its `bark.generation`.

history_prompt is whatever `Bark` takes for a voice: a name (`v2/en_speaker_6`), the path of an `.npz` file, a dict with
`semantic_prompt`, `coarse_prompt` and `fine_prompt`, a Voice, a Generation, or None. use_kv_caching is accepted and
changes nothing: the cache is exact, and always used. seed, our addition, is that of a whole generation: stages run
with equal seeds are `Bark.generate` with it; without one each call draws afresh. The model is that of
`preload_models`. Arguments out of range raise SettingsError, TextError, VoiceError or TokenError, all ValueErrors.
"""

import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from bark_jax.bark import VoiceSource
from bark_jax.config import CoarseConfig
from bark_jax.settings import Settings, SettingsError
from bark_jax.stages.progress import Progress
from bark_jax.suno.loading import SAMPLE_RATE, loaded_model, preload_models

__all__ = [
    "SAMPLE_RATE",
    "codec_decode",
    "generate_coarse",
    "generate_fine",
    "generate_text_semantic",
    "preload_models",
]

_HISTORY, _WINDOW = CoarseConfig.max_history, CoarseConfig.window


def generate_text_semantic(
    text: str,
    history_prompt: VoiceSource = None,
    temp: float = 0.7,
    top_k: int | None = None,
    top_p: float | None = None,
    silent: bool = False,
    min_eos_p: float | None = 0.2,
    max_gen_duration_s: float | None = None,
    allow_early_stop: bool = True,
    use_kv_caching: bool = False,
    *,
    seed: int | None = None,
) -> npt.NDArray[np.int64]:
    """Text → semantic tokens, int64 [N], 0 ≤ N ≤ 768.

    A clip ends with the token that exceeds max_gen_duration_s. Warns with TextTruncated and EmptyGeneration.
    """
    settings = Settings(
        semantic_temperature=temp, semantic_top_k=top_k, semantic_top_p=top_p, min_eos_p=min_eos_p,
        allow_early_stop=allow_early_stop, max_seconds=max_gen_duration_s,
    )  # fmt: skip
    bark = loaded_model()
    if max_gen_duration_s is not None:
        rules = bark.config.semantic
        settings = settings.replace(max_seconds=_suno_limit(max_gen_duration_s, rules.rate_hz, rules.max_new))
    with _bar("semantic", silent) as progress:
        tokens = bark.text_to_semantic(
            text, voice=history_prompt, seed=choose_seed(seed), settings=settings, progress=progress
        )
    return tokens.astype(np.int64)


def generate_coarse(
    x_semantic: npt.NDArray[np.integer],
    history_prompt: VoiceSource = None,
    temp: float = 0.7,
    top_k: int | None = None,
    top_p: float | None = None,
    silent: bool = False,
    max_coarse_history: int = _HISTORY,
    sliding_window_len: int = _WINDOW,
    use_kv_caching: bool = False,
    *,
    seed: int | None = None,
) -> npt.NDArray[np.int32]:
    """Semantic tokens, int [N] → the first two codebooks, int32 [2, ⌊N · 75 / 49.9⌋].

    max_coarse_history: 60 … 630. sliding_window_len is the model's: no other than 60 is accepted.
    """
    if sliding_window_len != _WINDOW:
        raise SettingsError(f"sliding_window_len must be {_WINDOW}, which the model has, not {sliding_window_len!r}")
    settings = Settings(
        coarse_temperature=temp, coarse_top_k=top_k, coarse_top_p=top_p,
        coarse_history=None if max_coarse_history == _HISTORY else max_coarse_history,  # by default the model's own
    )  # fmt: skip
    bark = loaded_model()
    with _bar("coarse", silent) as progress:
        return bark.semantic_to_coarse(
            x_semantic, voice=history_prompt, seed=choose_seed(seed), settings=settings, progress=progress
        )


def generate_fine(
    x_coarse_gen: npt.NDArray[np.integer],
    history_prompt: VoiceSource = None,
    temp: float | None = 0.5,
    silent: bool = True,
    *,
    seed: int | None = None,
) -> npt.NDArray[np.int32]:
    """The first two codebooks, int [2, T] → all, int32 [8, T]. temp: None is greedy, as 0 is."""
    settings = Settings(fine_temperature=0.0 if temp is None else temp)
    bark = loaded_model()
    with _bar("fine", silent) as progress:
        return bark.coarse_to_fine(
            x_coarse_gen, voice=history_prompt, seed=choose_seed(seed), settings=settings, progress=progress
        )


def codec_decode(fine_tokens: npt.NDArray[np.integer]) -> npt.NDArray[np.float32]:
    """Codes, int [8, T] → waveform, float32 [T · 320] at SAMPLE_RATE."""
    return loaded_model().decode(fine_tokens)


def choose_seed(seed: int | None) -> int:
    """The seed, or a fresh one."""
    return secrets.randbits(31) if seed is None else seed


def _suno_limit(seconds: float, rate_hz: float, most: int) -> float:
    """Our `max_seconds` for Suno's: it adds up the tokens' durations, and stops after the token that exceeds them."""
    ends = np.cumsum(np.full(most, 1 / rate_hz))
    tokens = int((ends <= seconds).sum()) + 1
    return (tokens + 0.5) / rate_hz  # far from where rounding decides


@contextmanager
def _bar(stage: str, silent: bool) -> Iterator[Progress | None]:
    """A progress bar for one stage, shown once its input was found good."""
    bar: tqdm[Any] | None = None
    with ExitStack() as shown:

        def update(done: int, total: int) -> None:
            nonlocal bar
            bar = shown.enter_context(tqdm(desc=f"{stage:8}", total=total)) if bar is None else bar
            bar.update(done - bar.n)

        yield None if silent else update
