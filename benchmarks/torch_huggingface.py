"""How fast is transformers' BarkModel? Its own `generate` of each sub-model, called as its users call it."""

import textwrap
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor
from transformers import DynamicCache
from transformers.models.bark.generation_configuration_bark import (
    BarkCoarseGenerationConfig,
    BarkFineGenerationConfig,
    BarkSemanticGenerationConfig,
)

from bark_jax import Bark, BarkConfig, Settings, Voice
from benchmarks.torch_bark import draw, pad_right, ranges
from benchmarks.torch_weights import huggingface_bark

ATTENTIONS = ("flash_attention_2", "sdpa", "eager")  # the first that runs is used


class TransformersBark:
    """The four sub-models. Arrays in, arrays out; a batch has one voice, and no item ends before its last token."""

    def __init__(self, bark: Bark, settings: Settings) -> None:
        transformers.logging.set_verbosity_error()  # it advises on every call
        self.config, self.settings, self.refused = bark.config, settings, []
        self.model, self.attention = self._first_that_runs(bark)
        self.causal = {"semantic": self.model.semantic, "coarse": self.model.coarse_acoustics}
        self.rules = generation_configs(bark.config)

    def _first_that_runs(self, bark: Bark) -> tuple[Any, str]:
        for attention in ATTENTIONS:
            try:
                model = huggingface_bark(bark, attention)
                model.fine_acoustics(1, torch.zeros(1, 4, bark.config.codec.codebooks, dtype=int, device=model.device))
            except Exception as error:  # as many kinds as there are ways of attention
                self.refused.append(f"{attention}: {textwrap.shorten(str(error), 80)}")
            else:
                return model, attention
        raise RuntimeError("; ".join(self.refused))

    def semantic(self, texts: np.ndarray, voice: Voice | None, count: int) -> np.ndarray:
        """Text ids [B, n], without offset → semantic tokens [B, count]."""
        length = self.config.semantic.max_text
        tokens = self.model.semantic.generate(
            self._put(pad_right(texts, length, 0)),
            semantic_generation_config=self.rules["semantic"],
            history_prompt=self._history(voice),
            attention_mask=self._put(pad_right(np.ones_like(texts), length, 0)),
            min_new_tokens=count,  # bans the end of the sequence
            max_new_tokens=count,
            **self._sampling("semantic"),
        )
        return tokens.cpu().numpy()

    def coarse(self, semantic: np.ndarray, voice: Voice | None) -> np.ndarray:
        """Semantic tokens [B, N] → codes [B, 2, T]."""
        size = self.config.codec.codebook_size
        flat = self.model.coarse_acoustics.generate(
            self._put(semantic),
            semantic_generation_config=self.rules["semantic"],
            coarse_generation_config=self.rules["coarse"],
            codebook_size=size,
            history_prompt=self._history(voice),
            **self._sampling("coarse"),
        )
        frames = flat.cpu().numpy().reshape(len(semantic), -1, self.config.coarse.codebooks)
        return (frames - self.config.semantic.vocab).transpose(0, 2, 1) % size  # as its fine stage does

    def fine(self, coarse: np.ndarray, voice: Voice | None) -> np.ndarray:
        """Codes [B, 2, T] → [B, 8, T]."""
        firsts = np.array([first for first, _ in ranges(self.config)["coarse"]])
        codes = self.model.fine_acoustics.generate(
            self._put((coarse.transpose(0, 2, 1) + firsts).reshape(len(coarse), -1)),
            semantic_generation_config=self.rules["semantic"],
            coarse_generation_config=self.rules["coarse"],
            fine_generation_config=self.rules["fine"],
            codebook_size=self.config.codec.codebook_size,
            history_prompt=self._history(voice),
            temperature=self.settings.fine_temperature or 1.0,  # which it takes for greedy
        )
        return codes.cpu().numpy()

    @torch.no_grad()
    def codec(self, fine: np.ndarray) -> np.ndarray:
        """Codes [B, 8, T] → waveforms [B, T · 320]."""
        return self.model.codec_decode(self._put(fine)).float().cpu().numpy()

    @torch.inference_mode()
    def step_logits(self, stage: str, prompt: np.ndarray) -> np.ndarray:
        """Logits [B, V] of a step with the last of the tokens [B, n], the others being in the cache."""
        return self._step(stage, self._put(prompt[:, -1:]), self._filled(stage, prompt[:, :-1])).cpu().numpy()

    @torch.inference_mode()
    def fine_logits(self, codes: np.ndarray, codebook: int) -> np.ndarray:
        """Codes [B, 8, T] → logits [B, T, V]."""
        return self.model.fine_acoustics(codebook, self._put(codes).transpose(1, 2)).logits.float().cpu().numpy()

    @torch.inference_mode()
    def prepare_steps(self, stage: str, prompt: np.ndarray, count: int) -> Callable[[], Tensor]:
        """A call that decodes `count` tokens after a prompt [B, n], all but its last in the cache beforehand."""
        cache, allowed = self._filled(stage, prompt[:, :-1]), ranges(self.config)[stage]
        temperature = getattr(self.settings, f"{stage}_temperature")

        @torch.inference_mode()
        def decode() -> Tensor:
            token = self._put(prompt[:, -1:])
            for i in range(count):
                first, size = allowed[i % len(allowed)]
                logits = self._step(stage, token, cache)[:, first : first + size]
                token = first + draw(logits, temperature)[:, None]
            cache.crop(-count)
            return token

        return decode

    def _filled(self, stage: str, tokens: np.ndarray) -> DynamicCache:
        cache = DynamicCache()
        self._step(stage, self._put(tokens), cache)
        return cache

    def _step(self, stage: str, tokens: Tensor, cache: DynamicCache) -> Tensor:
        """[B, T] → float32 logits [B, V] of the last."""
        return self.causal[stage](tokens, past_key_values=cache, use_cache=True).logits[:, -1].float()

    def _sampling(self, stage: str) -> dict[str, Any]:
        temperature = getattr(self.settings, f"{stage}_temperature")
        return {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature else {"do_sample": False}

    def _history(self, voice: Voice | None) -> dict[str, Tensor] | None:
        return voice and {f"{name}_prompt": self._put(getattr(voice, name)) for name in ("semantic", "coarse", "fine")}

    def _put(self, array: np.ndarray) -> Tensor:
        return torch.as_tensor(array, dtype=torch.int64, device=self.model.device)


def generation_configs(config: BarkConfig) -> dict[str, Any]:
    """Its generation rules, with our model's ids and lengths."""
    semantic, coarse, fine = config.semantic, config.coarse, config.fine
    return {
        "semantic": BarkSemanticGenerationConfig(
            eos_token_id=semantic.pad,
            pad_token_id=semantic.pad,
            text_encoding_offset=semantic.text_offset,
            text_pad_token=semantic.text_pad,
            semantic_infer_token=semantic.infer,
            semantic_vocab_size=semantic.vocab,
            max_input_semantic_length=semantic.max_text,
            semantic_rate_hz=semantic.rate_hz,
        ),
        "coarse": BarkCoarseGenerationConfig(
            coarse_semantic_pad_token=coarse.semantic_pad,
            coarse_rate_hz=config.codec.frame_rate_hz,
            n_coarse_codebooks=coarse.codebooks,
            coarse_infer_token=coarse.infer,
            max_coarse_input_length=coarse.max_semantic,
            max_coarse_history=coarse.max_history,
            sliding_window_len=coarse.window,
        ),
        "fine": BarkFineGenerationConfig(
            temperature=fine.temperature,
            max_fine_history_length=fine.max_history,
            max_fine_input_length=fine.gpt.block_size,
            n_fine_codebooks=config.codec.codebooks,
        ),
    }
