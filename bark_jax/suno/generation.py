"""Suno's stages, as in its `bark.generation`.

history_prompt: a name (`v2/en_speaker_6`), the path of an `.npz` file, a dict, a Voice, a Generation, or None. It needs
the arrays that the stage reads, and no others. Tokens may be whole numbers in floats. Numbers outside the usual ranges
of top_p, min_eos_p and max_gen_duration_s mean what they mean in Suno's code; a temperature of 0 is greedy.
use_kv_caching is accepted and changes nothing: the cache is exact, and always used. seed, our addition, is that of a
whole generation: stages run with equal seeds are `Bark.generate` with it; without one, or with −1, each call draws its
own. The model is that of `preload_models`. Arguments out of range raise SettingsError, TextError, VoiceError or
TokenError, all ValueErrors.
"""

import dataclasses
import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from numbers import Integral
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from bark_jax.bark import Bark
from bark_jax.config import NETWORKS, CoarseConfig
from bark_jax.frontend import VoiceSource
from bark_jax.generation import warn_if_empty
from bark_jax.inputs import choose_seed
from bark_jax.settings import Settings, SettingsError
from bark_jax.stages.progress import Progress
from bark_jax.suno.arguments import duration, end_probability, ends_at_once, nucleus, temperature
from bark_jax.suno.constants import (
    ALLOWED_PROMPTS,
    COARSE_INFER_TOKEN,
    COARSE_RATE_HZ,
    COARSE_SEMANTIC_PAD_TOKEN,
    CODEBOOK_SIZE,
    CONTEXT_WINDOW_SIZE,
    N_COARSE_CODEBOOKS,
    N_FINE_CODEBOOKS,
    SAMPLE_RATE,
    SEMANTIC_INFER_TOKEN,
    SEMANTIC_PAD_TOKEN,
    SEMANTIC_RATE_HZ,
    SEMANTIC_VOCAB_SIZE,
    SUPPORTED_LANGS,
    TEXT_ENCODING_OFFSET,
    TEXT_PAD_TOKEN,
)
from bark_jax.suno.history import read_history, whole
from bark_jax.suno.loading import SWITCHES, loaded_model, preload_models, switch
from bark_jax.suno.networks import clean_models, load_codec_model, load_model, models, models_devices
from bark_jax.text import normalize

__all__ = [
    "ALLOWED_PROMPTS",
    "COARSE_INFER_TOKEN",
    "COARSE_RATE_HZ",
    "COARSE_SEMANTIC_PAD_TOKEN",
    "CODEBOOK_SIZE",
    "CONTEXT_WINDOW_SIZE",
    "N_COARSE_CODEBOOKS",
    "N_FINE_CODEBOOKS",
    "SAMPLE_RATE",
    "SEMANTIC_INFER_TOKEN",
    "SEMANTIC_PAD_TOKEN",
    "SEMANTIC_RATE_HZ",
    "SEMANTIC_VOCAB_SIZE",
    "SUPPORTED_LANGS",
    "TEXT_ENCODING_OFFSET",
    "TEXT_PAD_TOKEN",
    "clean_models",
    "codec_decode",
    "generate_coarse",
    "generate_fine",
    "generate_text_semantic",
    "load_codec_model",
    "load_model",
    "logger",
    "models",
    "models_devices",
    "preload_models",
]

logger = logging.getLogger(__name__)

_ELSEWHERE = {
    "CACHE_DIR": "`bark-jax convert` chooses a folder, preload_models(model=...) takes one",
    "CUR_PATH": "voices are found by name, see Bark.voices()",
    "FineGPT": "it is bark_jax.models.fine_gpt.FineGPT",
    "FineGPTConfig": "it is bark_jax.config.FineGPTConfig",
    "GPT": "it is bark_jax.models.gpt.GPT",
    "GPTConfig": "it is bark_jax.config.GPTConfig",
    "InferenceContext": "nothing is needed in its place",
    "GLOBAL_ENABLE_MPS": "JAX chooses the device",
    "REMOTE_MODEL_PATHS": "preload_models(model=...) takes a hub repository or a folder",
    "autocast": "nothing is needed in its place: dtype= of Bark.from_pretrained chooses the precision",
    "default_cache_dir": "`bark-jax convert` chooses a folder, preload_models(model=...) takes one",
}
"""Public names of Suno's module that have no meaning here."""

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

    A clip ends with the token that exceeds max_gen_duration_s. With a min_eos_p of 0 there is none. Warns with
    TextTruncated and EmptyGeneration.
    """
    settings = Settings(
        semantic_temperature=temperature(temp), semantic_top_k=top_k, semantic_top_p=nucleus(top_p),
        min_eos_p=end_probability(min_eos_p), allow_early_stop=bool(allow_early_stop),
    )  # fmt: skip
    bark = loaded_model()
    rules = bark.config.semantic
    settings = settings.replace(max_seconds=duration(max_gen_duration_s, rules.rate_hz, rules.max_new))
    voice, seed = read_history(history_prompt, "semantic", bark), choose_seed(seed)
    if ends_at_once(min_eos_p, allow_early_stop):
        normalize(text)
        tokens = np.zeros(0, np.int64)
        warn_if_empty(tokens, f"the clip (min_eos_p {min_eos_p})", stacklevel=2)
        return tokens
    with _bar("semantic", silent) as progress:
        tokens = bark.text_to_semantic(text, voice=voice, seed=seed, settings=settings, progress=progress)
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

    max_coarse_history, sliding_window_len: flat coarse tokens in a prompt, 60 … 630, and those made before the prompt
    slides; 768 together at most.
    """
    settings = Settings(coarse_temperature=temperature(temp), coarse_top_k=top_k, coarse_top_p=nucleus(top_p))
    bark = loaded_model()
    if sliding_window_len == _WINDOW:
        # By default the model's own.
        settings = settings.replace(coarse_history=None if max_coarse_history == _HISTORY else max_coarse_history)
    else:
        bark = _with_window(bark, sliding_window_len, max_coarse_history)
    voice = read_history(history_prompt, "coarse", bark)
    with _bar("coarse", silent) as progress:
        return bark.semantic_to_coarse(
            whole(x_semantic), voice=voice, seed=choose_seed(seed), settings=settings, progress=progress
        )


def generate_fine(
    x_coarse_gen: npt.NDArray[np.integer],
    history_prompt: VoiceSource = None,
    temp: float | None = 0.5,
    silent: bool = True,
    *,
    seed: int | None = None,
) -> npt.NDArray[np.int32]:
    """The first codebooks, 1 … 7, int [G, T] → all, int32 [8, T]. temp: None is greedy, as 0 is."""
    settings = Settings(fine_temperature=0.0 if temp is None else temperature(temp))
    bark = loaded_model()
    voice = read_history(history_prompt, "fine", bark)
    with _bar("fine", silent) as progress:
        return bark.coarse_to_fine(
            whole(x_coarse_gen), voice=voice, seed=choose_seed(seed), settings=settings, progress=progress
        )


def codec_decode(fine_tokens: npt.NDArray[np.integer]) -> npt.NDArray[np.float32]:
    """Codes, int [≤ 8, T] → waveform, float32 [T · 320] at SAMPLE_RATE."""
    return loaded_model().decode(whole(fine_tokens))


def __getattr__(name: str) -> bool:
    """Suno's switches, as the environment has them when they are read. Raises ImportError for what is elsewhere."""
    if name in SWITCHES:
        return switch(name)
    if name in _ELSEWHERE:  # an AttributeError would lose its message in `from ... import`
        raise ImportError(f"bark_jax.suno.generation has no {name}: {_ELSEWHERE[name]}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _with_window(bark: Bark, window: int, history: int) -> Bark:
    """The model with another window, and the longest history beside it, in its coarse stage. Raises SettingsError."""
    rules = bark.config.coarse
    room = rules.gpt.block_size - rules.max_semantic
    given = (window, history)
    if not all(isinstance(n, Integral) for n in given) or not (window >= 1 and 60 <= history <= _HISTORY):
        raise SettingsError(f"sliding_window_len, max_coarse_history must be integers ≥ 1 and 60 … 630, not {given}")
    if window + history > room:
        raise SettingsError(f"sliding_window_len and max_coarse_history must be at most {room} together, not {given}")
    coarse = dataclasses.replace(rules, window=int(window), max_history=int(history))
    config = dataclasses.replace(bark.config, coarse=coarse)
    networks = {name: getattr(bark, name) for name in NETWORKS}
    return Bark(config, networks, bark.tokenizer, voice_folder=bark.voice_folder, mesh=bark.mesh, offload=bark.offload)


@contextmanager
def _bar(stage: str, silent: bool | None) -> Iterator[Progress | None]:
    """A progress bar for one stage, shown once its input was found good."""
    bar: tqdm[Any] | None = None
    with ExitStack() as shown:

        def update(done: int, total: int) -> None:
            nonlocal bar
            bar = shown.enter_context(tqdm(desc=f"{stage:8}", total=total, disable=silent)) if bar is None else bar
            bar.update(done - bar.n)

        yield None if silent else update  # None: tqdm shows bars on terminals only
