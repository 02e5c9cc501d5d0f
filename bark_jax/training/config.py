"""How a network is trained: optimiser, averages, adapters and the codec's losses."""

import math
from dataclasses import dataclass, field
from typing import Any

from bark_jax.errors import TrainingError

DTYPES = ("float32", "bfloat16")  # of the computation; trained parameters are float32
LONGEST_WARMUP = 500  # steps, unless the configuration says otherwise
OPTIMIZERS = ("adamw", "muon")  # the latter for the matrices of transformers' blocks, AdamW for all else


@dataclass(frozen=True, kw_only=True)
class CodecTraining:
    """Losses and quantiser of the codec. Raises TrainingError naming the field that is out of range."""

    waveform_weight: float = 0.1
    spectral_weight: float = 1.0
    commitment_weight: float = 1.0
    windows: tuple[int, ...] = (32, 64, 128, 256, 512, 1024, 2048)  # samples of the spectra, multiples of 8
    spectral_floor: float = 1e-5  # added to magnitudes before their logarithm: what is far below it is silence
    dropout: float = 0.5  # share of clips that use only their first codebooks, from one up to all of them
    codebook_decay: float = 0.99  # of the moving averages that codewords are
    dead_use: float = 0.1  # a codeword used less than this share of the average is restarted

    def __post_init__(self) -> None:
        for name in ("waveform_weight", "spectral_weight", "commitment_weight"):
            require(self, name, getattr(self, name) >= 0, "≥ 0")
        fits = bool(self.windows) and all(w >= 8 and w % 8 == 0 for w in self.windows)
        require(self, "windows", fits, "multiples of 8")
        require(self, "spectral_floor", self.spectral_floor > 0, "> 0")
        require(self, "dropout", 0 <= self.dropout <= 1, "in 0 … 1")
        require(self, "codebook_decay", 0 <= self.codebook_decay < 1, "in [0, 1)")
        require(self, "dead_use", 0 < self.dead_use < 1, "in (0, 1)")


@dataclass(frozen=True, kw_only=True)
class LoraConfig:
    """Low-rank adapters: W + α/rank · B·A in place of every target's weight W. Raises TrainingError."""

    rank: int = 8
    alpha: float = 16.0
    targets: tuple[str, ...] = ("qkv_projection", "attention_out", "mlp_in", "mlp_out")  # names of Linear layers

    def __post_init__(self) -> None:
        require(self, "rank", self.rank >= 1, "≥ 1")
        require(self, "alpha", self.alpha > 0, "> 0")
        require(self, "targets", len(self.targets) > 0, "names of Linear layers")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """One training run. Raises TrainingError naming the field that is out of range."""

    optimizer: str = "adamw"  # one of OPTIMIZERS
    steps: int = 10_000  # of the optimiser, after which the learning rate has reached its end
    learning_rate: float = 3e-4  # the highest, after the warm-up
    final_learning_rate: float = 0.1  # where the cosine ends, as a share of the highest
    warmup_steps: int | None = None  # a tenth of the steps, but not more than LONGEST_WARMUP
    weight_decay: float = 0.1  # of matrices and kernels; vectors (biases, scales) have none
    beta1: float = 0.9  # of AdamW
    beta2: float = 0.95
    clip_norm: float = 1.0  # the gradients' norm, all parameters together, is cut to this
    microbatches: int = 1  # parts of a batch, whose gradients are accumulated
    average_decay: float = 0.999  # of the moving average of the parameters
    dtype: str = "float32"  # of the computation: one of DTYPES
    trainable: tuple[str, ...] = ("*",)  # patterns of dotted paths; the other parameters stay as they are
    seed: int = 0
    codec: CodecTraining = field(default_factory=CodecTraining)

    def __post_init__(self) -> None:
        require(self, "optimizer", self.optimizer in OPTIMIZERS, " or ".join(OPTIMIZERS))
        require(self, "steps", self.steps >= 1, "≥ 1")
        require(self, "learning_rate", 0 < self.learning_rate < math.inf, "> 0")
        require(self, "final_learning_rate", 0 <= self.final_learning_rate <= 1, "in 0 … 1")
        require(self, "warmup_steps", 0 <= self.warmup < self.steps, f"in 0 … {self.steps - 1}, less than steps")
        require(self, "weight_decay", self.weight_decay >= 0, "≥ 0")
        for name in ("beta1", "beta2", "average_decay"):
            require(self, name, 0 <= getattr(self, name) < 1, "in [0, 1)")
        require(self, "clip_norm", self.clip_norm > 0, "> 0")
        require(self, "microbatches", self.microbatches >= 1, "≥ 1")
        require(self, "dtype", self.dtype in DTYPES, " or ".join(DTYPES))
        require(self, "trainable", len(self.trainable) > 0, "patterns of dotted paths")
        require(self, "seed", 0 <= self.seed < 2**32, "in 0 … 2³² − 1")

    @property
    def warmup(self) -> int:
        """Steps in which the learning rate rises."""
        return min(LONGEST_WARMUP, self.steps // 10) if self.warmup_steps is None else self.warmup_steps


def require(config: Any, name: str, fits: bool, what: str) -> None:
    """Raise TrainingError naming the field unless it fits."""
    if not fits:
        raise TrainingError(f"{name} must be {what}, not {getattr(config, name)!r}")
