"""Training of the codec: its losses, and codebooks that follow moving averages of what they encode.

The adversarial loss of the published training is left out.

Axes: B batch, N samples, T frames, C width of the latents, K codebooks, V codewords, M mel bands.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from bark_jax.models.encodec import Encodec, Quantizer, nearest
from bark_jax.training.batches import CodecBatch
from bark_jax.training.config import CodecTraining
from bark_jax.training.losses import Loss

_MOST_BANDS = 64
_LEAST = 1e-5  # magnitude, so that roots have slopes


class Codebooks(NamedTuple):
    """The quantiser's tables and the moving averages behind them: table = sums / use."""

    table: Array  # [K, V, C] float32
    use: Array  # [K, V] float32: how often a codeword is chosen, 1 being the average of its codebook
    sums: Array  # [K, V, C] float32: of the vectors it was chosen for, in the same unit


class Assignments(NamedTuple):
    """What the codewords of a batch were chosen for."""

    counts: Array  # [K, V] float32
    sums: Array  # [K, V, C] float32
    samples: Array  # [K, V, C] float32: random vectors that each codebook quantised


class Quantized(NamedTuple):
    """Latents after the quantiser."""

    latents: Array  # [B, T, C]: sums of codewords; gradients pass straight through to the encoder
    commitment: Array  # [B]: how far the vectors are from their codewords
    assignments: Assignments


def codec_loss(
    codec: Encodec, sample_rate: int, rules: CodecTraining, batch: CodecBatch, key: Array
) -> tuple[Loss, Assignments]:
    """Σ_b λ_w·‖x − x̂‖₁/N + λ_s·spectral(x, x̂) + λ_c·commitment, over the rows that count.

    x [B, N] is the batch's waveform and x̂ what the decoder makes of its codes. key: a typed key, for the codebooks
    dropped and for samples.
    """
    waveform, counted = jnp.asarray(batch.waveform), jnp.asarray(batch.learned, jnp.float32)
    depth_key, sample_key = jax.random.split(key)
    depth = draw_depths(depth_key, len(waveform), len(codec.quantizer.codebooks[...]), rules.dropout)
    latents = codec.encoder(waveform[..., None])
    quantized = quantize(codec.quantizer, latents, depth, counted, sample_key)
    rebuilt, _ = codec.decoder(quantized.latents, codec.decoder.start(len(waveform)))
    rebuilt = rebuilt.squeeze(-1)[:, : waveform.shape[1]]
    rows = {
        "waveform": jnp.abs(waveform - rebuilt).mean(axis=1),
        "spectral": spectral_distance(waveform, rebuilt, sample_rate, rules.windows, rules.spectral_floor),
        "commitment": quantized.commitment,
    }
    parts = {name: (row * counted).sum() for name, row in rows.items()}
    total = (
        rules.waveform_weight * parts["waveform"]
        + rules.spectral_weight * parts["spectral"]
        + rules.commitment_weight * parts["commitment"]
    )
    return Loss(total, counted.sum(), parts), quantized.assignments


def draw_depths(key: Array, rows: int, codebooks: int, dropout: float) -> Array:
    """Codebooks each row uses, int32 [rows]: all, or with probability `dropout` a uniform 1 … codebooks."""
    which, how_many = jax.random.split(key)
    drawn = jax.random.randint(how_many, (rows,), 1, codebooks + 1)
    return jnp.where(jax.random.uniform(which, (rows,)) < dropout, drawn, codebooks)


def quantize(quantizer: Quantizer, latents: Array, depth: Array, counted: Array, key: Array) -> Quantized:
    """Latents z [B, T, C] through each row's first `depth` codebooks (int32 [B]).

    With r_k = z − Σ_{j<k} q_j what codebook k quantises and q_k the codeword nearest to it, the result is
    z + sg(Σ_{k<depth} q_k − z) and the commitment Σ_{k<depth} ‖r_k − sg(q_k)‖²/(T·C); sg stops gradients. Assignments
    are of the rows that count (float32 [B]).
    """
    tables = jax.lax.stop_gradient(quantizer.codebooks[...])
    index = jnp.arange(len(tables))
    codes = quantizer.encode(jax.lax.stop_gradient(latents))  # [B, K, T]
    codewords = tables[index[:, None], codes]  # [B, K, T, C]
    rest = latents[:, None] - (jnp.cumsum(codewords, axis=1) - codewords)  # [B, K, T, C]
    used = (index < depth[:, None]).astype(jnp.float32)  # [B, K]
    total = jnp.einsum("bk,bktc->btc", used, codewords, precision=jax.lax.Precision.HIGHEST)
    distance = jnp.square(rest - codewords).mean(axis=(2, 3))  # [B, K]
    return Quantized(
        latents=latents + jax.lax.stop_gradient(total - latents),
        commitment=(used * distance).sum(axis=1),
        assignments=_assign(codes, jax.lax.stop_gradient(rest), used * counted[:, None], tables.shape[1], key),
    )


def _assign(codes: Array, rest: Array, weight: Array, size: int, key: Array) -> Assignments:
    """Codes [B, K, T] of the vectors [B, K, T, C] in rows and codebooks of that weight [B, K]."""

    def of_codebook(codes: Array, rest: Array, weight: Array, key: Array) -> Assignments:
        weight = jnp.broadcast_to(weight[:, None], codes.shape)  # [B, T]
        counts = jnp.zeros(size, jnp.float32).at[codes].add(weight)
        sums = jnp.zeros((size, rest.shape[-1]), jnp.float32).at[codes].add(weight[..., None] * rest)
        return Assignments(counts, sums, _draw_vectors(key, rest, size))

    over_codebooks = jax.vmap(of_codebook, in_axes=(1, 1, 1, 0))
    return over_codebooks(codes, rest, weight, jax.random.split(key, codes.shape[1]))


def _draw_vectors(key: Array, vectors: Array, count: int) -> Array:
    """Random ones of the vectors [..., C] → [count, C]."""
    flat = vectors.reshape(-1, vectors.shape[-1])
    return flat[jax.random.randint(key, (count,), 0, len(flat))]


def start_codebooks(table: Array) -> Codebooks:
    """The averages behind a table [K, V, C], all its codewords used alike."""
    return Codebooks(jnp.array(table), jnp.ones(table.shape[:2], jnp.float32), jnp.array(table))


def update_codebooks(codebooks: Codebooks, parts: Assignments, rules: CodecTraining) -> Codebooks:
    """Moving averages of one step's assignments, of which `parts` has one per microbatch on its first axis.

    With n_v the count and s_v the sum of codeword v, m = Σ_v n_v / V and γ the decay: use_v ← γ·use_v + (1−γ)·n_v/m,
    sums_v ← γ·sums_v + (1−γ)·s_v/m, and the codeword is sums_v / use_v. Where use_v falls below `dead_use`, the
    codeword becomes a random vector of the batch, used averagely. A codebook without assignments stays as it is.
    """
    counts, sums, samples = parts.counts.sum(axis=0), parts.sums.sum(axis=0), parts.samples[0]
    average = counts.mean(axis=1)[:, None]  # [K, 1]
    share = (1 - rules.codebook_decay) / jnp.where(average > 0, average, 1)
    use = rules.codebook_decay * codebooks.use + share * counts
    sums = rules.codebook_decay * codebooks.sums + share[..., None] * sums
    dead = use < rules.dead_use
    use = jnp.where(dead, 1, use)
    sums = jnp.where(dead[..., None], samples, sums)
    after = Codebooks(sums / use[..., None], use, sums)
    return jax.tree.map(lambda new, old: jnp.where(_like(average > 0, new), new, old), after, codebooks)


def _like(condition: Array, x: Array) -> Array:
    """A condition [K, 1] with as many axes as x."""
    return condition.reshape(condition.shape + (1,) * (x.ndim - condition.ndim))


@jax.jit
def sample_codebooks(codec: Encodec, waveform: Array, key: Array) -> Array:
    """Codebooks [K, V, C] to start from, of vectors that an untrained encoder makes of waveforms [B, N].

    Each codebook is a sample of what those before it left over.
    """
    codebooks, size, _ = codec.quantizer.codebooks.shape

    def sample(rest: Array, key: Array) -> tuple[Array, Array]:
        table = _draw_vectors(key, rest, size)
        return rest - table[nearest(rest, table)], table

    _, tables = jax.lax.scan(sample, codec.encoder(waveform[..., None]), jax.random.split(key, codebooks))
    return tables


def spectral_distance(x: Array, y: Array, sample_rate: int, windows: tuple[int, ...], floor: float) -> Array:
    """Mean over windows of mean |X − Y| + mean (log₁₀(X + floor) − log₁₀(Y + floor))² of mel spectra: [B, N] → [B]."""

    def of_window(window: int) -> Array:
        a, b = (mel_spectrum(signal, sample_rate, window) for signal in (x, y))
        ratio = jnp.log10(a + floor) - jnp.log10(b + floor)
        return (jnp.abs(a - b) + jnp.square(ratio)).mean(axis=(1, 2))

    return sum(map(of_window, windows), jnp.zeros(len(x), jnp.float32)) / len(windows)


def mel_spectrum(x: Array, sample_rate: int, window: int) -> Array:
    """Magnitudes in mel bands of Hann windows a quarter apart, of a signal [B, N] → [B, frames, M]."""
    hop = window // 4
    x = jnp.pad(x, ((0, 0), (window // 2, window // 2)))
    blocks = x[:, : x.shape[1] // hop * hop].reshape(len(x), -1, hop)
    frames = blocks.shape[1] - 3
    # Shifted blocks, not gathered samples: the gradient of gathering is a scatter, which a CPU does one by one.
    framed = jnp.concatenate([blocks[:, shift : shift + frames] for shift in range(4)], axis=-1)  # [B, frames, window]
    hann = np.hanning(window + 1)[:-1].astype(np.float32)
    spectrum = jnp.fft.rfft(framed * (hann / np.linalg.norm(hann)))
    magnitude = jnp.sqrt(jnp.square(spectrum.real) + jnp.square(spectrum.imag) + _LEAST**2)
    filters = mel_filters(sample_rate, window, min(window // 8, _MOST_BANDS))
    return jnp.einsum("bfi,im->bfm", magnitude, filters, precision=jax.lax.Precision.HIGHEST)


def mel_filters(sample_rate: int, window: int, bands: int) -> np.ndarray:
    """Triangles, evenly spaced in mel from 0 Hz to half the sample rate, float32 [window / 2 + 1, bands]."""
    highest = 2595 * math.log10(1 + sample_rate / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, highest, bands + 2) / 2595) - 1)  # Hz
    frequency = np.fft.rfftfreq(window, 1 / sample_rate)[:, None]
    rising = (frequency - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - frequency) / (edges[2:] - edges[1:-1])
    return np.maximum(0, np.minimum(rising, falling)).astype(np.float32)
