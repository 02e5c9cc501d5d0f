"""How fast is Bark in plain PyTorch, written with care? Suno's design: cached loops, one window after the other.

The cache is written in place, attention is PyTorch's fused one, and nothing waits for the device inside a loop. Rows of
a batch have equal lengths and one voice. Parameters have the dotted paths of our networks.

Axes: B batch, T query length, S cache length, H heads, D head dim, C width, V vocabulary, K codebooks.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, gelu, linear, scaled_dot_product_attention

from bark_jax import Bark, Settings, Voice
from bark_jax.config import BarkConfig, FineGPTConfig, GPTConfig
from bark_jax.stages.coarse_plan import coarse_history, coarse_steps
from benchmarks.torch_weights import encodec, share

Step: TypeAlias = Callable[..., tuple[Tensor, Tensor]]  # as GPT.step
Attend: TypeAlias = Callable[[Tensor, Tensor, Tensor], Tensor]  # queries, keys, values [B, H, T, D] → [B, H, T, D]


class Block(nn.Module):
    """One pre-norm transformer block; what its queries attend to is the caller's business."""

    def __init__(self, width: int, heads: int, *, bias: bool, norm_bias: bool) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width, bias=norm_bias)
        self.qkv_projection = nn.Linear(width, 3 * width, bias=bias)
        self.attention_out = nn.Linear(width, width, bias=bias)
        self.mlp_norm = nn.LayerNorm(width, bias=norm_bias)
        self.mlp_in = nn.Linear(width, 4 * width, bias=bias)
        self.mlp_out = nn.Linear(4 * width, width, bias=bias)
        self.heads = heads

    def forward(self, x: Tensor, attend: Attend) -> Tensor:
        """[B, T, C] → [B, T, C]."""
        qkv = self.qkv_projection(self.attention_norm(x))
        q, k, v = qkv.unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # [B, H, T, D] each
        x = x + self.attention_out(attend(q, k, v).transpose(1, 2).flatten(2))
        return x + self.mlp_out(gelu(self.mlp_in(self.mlp_norm(x))))


class LayerCache(nn.Module):
    """Keys and values of one layer, [B, H, S, D] each."""

    def __init__(self, *shape: int, like: Tensor) -> None:
        super().__init__()
        self.keys = nn.Buffer(like.new_zeros(shape))
        self.values = nn.Buffer(like.new_zeros(shape))

    def attend(self, q: Tensor, k: Tensor, v: Tensor, slot: int | Tensor) -> Tensor:
        """Store T keys and values from `slot` on, and attend to all up to there.

        A slot given as a tensor [1] (then T = 1) may vary within one CUDA graph: the whole cache is read, and masked.
        """
        if isinstance(slot, Tensor):
            self.keys.index_copy_(2, slot, k)
            self.values.index_copy_(2, slot, v)
            visible = torch.arange(self.keys.shape[2], device=q.device)[None] <= slot
            return scaled_dot_product_attention(q, self.keys, self.values, attn_mask=visible)
        end = slot + q.shape[2]
        self.keys[:, :, slot:end] = k
        self.values[:, :, slot:end] = v
        return scaled_dot_product_attention(q, self.keys[:, :, :end], self.values[:, :, :end], is_causal=q.shape[2] > 1)


class GPT(nn.Module):
    """The causal transformer with its cache."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.token_embedding = nn.Parameter(torch.empty(config.input_vocab, config.width))
        self.position_embedding = nn.Parameter(torch.empty(config.block_size, config.width))
        self.blocks = nn.ModuleList(
            Block(config.width, config.heads, bias=config.bias, norm_bias=config.bias) for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(config.width, bias=config.bias)
        self.head = nn.Linear(config.width, config.output_vocab, bias=False)
        self.caches = nn.ModuleList()
        self.config = config

    def allocate(self, batch: int) -> None:
        """Make the cache one for `batch` rows, of all positions."""
        if not self.caches or self.caches[0].keys.shape[0] != batch:
            heads, size = self.config.heads, self.config.width // self.config.heads
            shape = (batch, heads, self.config.block_size, size)
            self.caches = nn.ModuleList(LayerCache(*shape, like=self.token_embedding) for _ in self.blocks)

    def embed(self, tokens: Tensor) -> Tensor:
        """[...] → [..., C]."""
        return embedding(tokens, self.token_embedding)

    def forward(self, x: Tensor, slot: int | Tensor) -> Tensor:
        """Embeddings [B, T, C] of positions from `slot` on → float32 logits [B, V] of the last."""
        positions = slot if isinstance(slot, Tensor) else slice(slot, slot + x.shape[1])
        x = x + self.position_embedding[positions]
        for block, cache in zip(self.blocks, self.caches, strict=True):
            x = block(x, partial(cache.attend, slot=slot))
        return self.head(self.norm(x[:, -1])).float()

    def step(
        self, token: Tensor, slot: int | Tensor, first: int, size: int, temperature: float
    ) -> tuple[Tensor, Tensor]:
        """Tokens [B] → the next ones [B], of the vocabulary first … first + size − 1, and all logits [B, V]."""
        logits = self(self.embed(token)[:, None], slot)
        return first + draw(logits[:, first : first + size], temperature), logits


class FineGPT(nn.Module):
    """The non-causal transformer; its heads are its embedding tables."""

    def __init__(self, config: FineGPTConfig) -> None:
        super().__init__()
        self.code_embeddings = nn.Parameter(torch.empty(config.codebooks, config.vocab, config.width))
        self.position_embedding = nn.Parameter(torch.empty(config.block_size, config.width))
        self.blocks = nn.ModuleList(
            Block(config.width, config.heads, bias=config.bias, norm_bias=True) for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(config.width)

    def forward(self, codes: Tensor, codebook: int) -> Tensor:
        """Codes [B, K, T] → float32 logits [B, T, V] of one codebook."""
        x = sum(embedding(codes[:, k], self.code_embeddings[k]) for k in range(codebook + 1))
        x = self.trunk(x + self.position_embedding[: x.shape[1]])
        return linear(x, self.code_embeddings[codebook]).float()

    def trunk(self, x: Tensor) -> Tensor:
        """[B, T, C] → [B, T, C]."""
        for block in self.blocks:
            x = block(x, scaled_dot_product_attention)
        return self.norm(x)


def draw(logits: Tensor, temperature: float) -> Tensor:
    """One token for each of the logits [..., V], int64 [...]; a temperature of 0 takes the most probable."""
    if temperature == 0:
        return logits.argmax(-1)
    p = torch.softmax(logits / temperature, dim=-1)
    return torch.multinomial(p.flatten(0, -2), 1).view(logits.shape[:-1])


def ranges(config: BarkConfig) -> dict[str, list[tuple[int, int]]]:
    """What the steps of a stage may draw from, in turn: the first of the vocabulary's entries, and how many."""
    vocab, size = config.semantic.vocab, config.codec.codebook_size
    return {"semantic": [(0, vocab)], "coarse": [(vocab + k * size, size) for k in range(config.coarse.codebooks)]}


def pad_right(rows: np.ndarray, length: int, pad: int) -> np.ndarray:
    """[B, n] → [B, length]."""
    return np.pad(rows, ((0, 0), (0, length - rows.shape[1])), constant_values=pad)


class TorchLoop:
    """Suno's stages. Arrays in, arrays out; every item ends after the tokens asked for, never before."""

    def __init__(self, bark: Bark, settings: Settings) -> None:
        self.config, self.settings = bark.config, settings
        self.gpts = {
            "semantic": share(partial(GPT, bark.config.semantic.gpt), bark.semantic),
            "coarse": share(partial(GPT, bark.config.coarse.gpt), bark.coarse),
        }
        self.fine_gpt = share(partial(FineGPT, bark.config.fine.gpt), bark.fine)
        self.device = self.fine_gpt.position_embedding.device
        self.encodec = encodec(bark)
        self.ranges = ranges(bark.config)
        self.steps: dict[str, Step] = {stage: gpt.step for stage, gpt in self.gpts.items()}

    @torch.inference_mode()
    def semantic(self, texts: np.ndarray, voice: Voice | None, count: int) -> np.ndarray:
        """Text ids [B, n], without offset → semantic tokens [B, count]."""
        rules, embed = self.config.semantic, self.gpts["semantic"].embed
        text = pad_right(texts + rules.text_offset, rules.max_text, rules.text_pad)
        old = voice.semantic[-rules.max_text :] if voice else np.zeros(0, int)
        history = pad_right(np.tile(old, (len(texts), 1)), rules.max_text, rules.pad)
        infer = np.full((len(texts), 1), rules.infer)
        prompt = torch.cat([embed(self._put(text)) + embed(self._put(history)), embed(self._put(infer))], dim=1)
        return self._decode("semantic", prompt, count).cpu().numpy()

    @torch.inference_mode()
    def coarse(self, semantic: np.ndarray, voice: Voice | None) -> np.ndarray:
        """Semantic tokens [B, N] → codes [B, 2, T]; every window begins with its prompt."""
        rules, ratio = self.config.coarse, self.config.coarse_per_semantic
        old, flat = (np.tile(h, (len(semantic), 1)) for h in coarse_history(self.config, voice, self.settings))
        known = np.concatenate([old, semantic], axis=1)
        flat, history, steps = self._put(flat), flat.shape[1], coarse_steps(self.config, semantic.shape[1])
        for done in range(0, steps, rules.window):
            at = max(0, old.shape[1] + round(done / ratio) - self.config.max_semantic_history)
            part = pad_right(known[:, at:][:, : rules.max_semantic], rules.max_semantic, rules.semantic_pad)
            part = self._put(pad_right(part, rules.max_semantic + 1, rules.infer))
            prompt = torch.cat([part, flat[:, -rules.max_history :]], dim=1)
            new = self._decode("coarse", self.gpts["coarse"].embed(prompt), min(rules.window, steps - done))
            flat = torch.cat([flat, new], dim=1)
        firsts = np.array([first for first, _ in self.ranges["coarse"]])
        frames = flat[:, history:].cpu().numpy().reshape(len(semantic), -1, rules.codebooks)
        return (frames - firsts).transpose(0, 2, 1)

    @torch.inference_mode()
    def fine(self, coarse: np.ndarray, voice: Voice | None) -> np.ndarray:
        """Codes [B, 2, T] → [B, 8, T]."""
        rules, window, size = self.config.fine, self.config.fine.gpt.block_size, self.config.codec.codebook_size
        (batch, given, frames), total = coarse.shape, self.config.codec.codebooks
        old = voice.fine[:, -rules.max_history :] if voice else np.zeros((total, 0), int)
        past = old.shape[1]
        length = max(window, past + frames)
        codes = np.full((batch, total, length), rules.pad)
        codes[:, :, :past], codes[:, :given, past : past + frames] = old, coarse
        codes = self._put(codes)
        for index in range(1 + max(0, math.ceil((frames - (window - past)) / rules.hop))):
            start = min(rules.hop * index, length - window)
            fill = min(past + rules.hop * index, length - rules.hop) - start
            view = codes[:, :, start : start + window]
            for codebook in range(given, total):
                logits = self.fine_gpt(view, codebook)[:, fill:, :size]
                view[:, codebook, fill:] = draw(logits, self.settings.fine_temperature)
        return codes[:, :, past : past + frames].cpu().numpy()

    @torch.inference_mode()
    def codec(self, fine: np.ndarray) -> np.ndarray:
        """Codes [B, 8, T] → waveforms [B, T · 320]. As in Suno's pipeline the codec is float32."""
        latents = self.encodec.quantizer.decode(self._put(fine).transpose(0, 1))
        return self.encodec.decoder(latents)[:, 0].cpu().numpy()

    @torch.inference_mode()
    def step_logits(self, stage: str, prompt: np.ndarray) -> np.ndarray:
        """Logits [B, V] of a step with the last of the tokens [B, n], the others being in the cache."""
        self._fill(stage, self.gpts[stage].embed(self._put(prompt[:, :-1])))
        token, slot = self._put(prompt[:, -1].copy()), self._slot(prompt.shape[1] - 1)
        _, logits = self.steps[stage](token, slot, *self.ranges[stage][0], self._temperature(stage))
        return logits.cpu().numpy()

    @torch.inference_mode()
    def fine_logits(self, codes: np.ndarray, codebook: int) -> np.ndarray:
        """Codes [B, 8, T] → logits [B, T, V]."""
        return self.fine_gpt(self._put(codes), codebook).cpu().numpy()

    @torch.inference_mode()
    def prepare_steps(self, stage: str, prompt: np.ndarray, count: int) -> Callable[[], Tensor]:
        """A call that decodes `count` tokens after a prompt [B, n], all but its last in the cache beforehand."""
        self._fill(stage, self.gpts[stage].embed(self._put(prompt[:, :-1])))
        token = self._put(prompt[:, -1].copy())  # its strides, part of a compiled program, are those of later tokens
        return torch.inference_mode()(partial(self._continue, stage, token, prompt.shape[1] - 1, count))

    def _put(self, array: np.ndarray) -> Tensor:
        return torch.tensor(array, dtype=torch.int64, device=self.device)

    def _fill(self, stage: str, prompt: Tensor) -> Tensor:
        """Embeddings [B, T, C] into the cache → logits [B, V]."""
        self.gpts[stage].allocate(len(prompt))
        return self.gpts[stage](prompt, 0)

    def _decode(self, stage: str, prompt: Tensor, count: int) -> Tensor:
        """Embeddings [B, T, C] → the `count` tokens after them, [B, count]."""
        first, size = self.ranges[stage][0]
        token = first + draw(self._fill(stage, prompt)[:, first : first + size], self._temperature(stage))
        rest = self._continue(stage, token, prompt.shape[1], count - 1, drawn=1)
        return torch.cat([token[:, None], rest], dim=1)

    def _continue(self, stage: str, token: Tensor, slot: int, count: int, drawn: int = 0) -> Tensor:
        """`count` steps [B, count], the first with `token` [B] in `slot`."""
        tokens = token.new_empty(len(token), count)
        for i in range(count):
            first, size = self.ranges[stage][(drawn + i) % len(self.ranges[stage])]
            token, _ = self.steps[stage](token, self._slot(slot + i), first, size, self._temperature(stage))
            tokens[:, i] = token
        return tokens

    def _slot(self, slot: int) -> int | Tensor:
        return slot

    def _temperature(self, stage: str) -> float:
        return getattr(self.settings, f"{stage}_temperature")
