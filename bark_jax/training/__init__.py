"""Training and fine-tuning of Bark's four networks."""

from bark_jax.errors import TrainingError
from bark_jax.training.batches import (
    CoarseBatch,
    CodecBatch,
    FineBatch,
    SemanticBatch,
    coarse_examples,
    fine_example,
    sample_coarse,
    sample_fine,
    sample_waveform,
    semantic_example,
    stack,
)
from bark_jax.training.codec import Assignments, codec_loss, sample_codebooks
from bark_jax.training.config import CodecTraining, LoraConfig, TrainConfig
from bark_jax.training.dataset import AudioClips, Clip, TokenClips, open_audio, open_tokens
from bark_jax.training.losses import Loss, coarse_loss, fine_loss, semantic_loss
from bark_jax.training.run import RunConfig, Schedule, run_training
from bark_jax.training.semantic_tokens import KMeansTokenizer, SemanticTokenizer
from bark_jax.training.shards import DataError
from bark_jax.training.step import Metrics, Trainer, TrainState

__all__ = [
    "Assignments",
    "AudioClips",
    "Clip",
    "CoarseBatch",
    "CodecBatch",
    "CodecTraining",
    "DataError",
    "FineBatch",
    "KMeansTokenizer",
    "LoraConfig",
    "Loss",
    "Metrics",
    "RunConfig",
    "Schedule",
    "SemanticBatch",
    "SemanticTokenizer",
    "TokenClips",
    "TrainConfig",
    "TrainState",
    "Trainer",
    "TrainingError",
    "coarse_examples",
    "coarse_loss",
    "codec_loss",
    "fine_example",
    "fine_loss",
    "open_audio",
    "open_tokens",
    "run_training",
    "sample_coarse",
    "sample_codebooks",
    "sample_fine",
    "sample_waveform",
    "semantic_example",
    "semantic_loss",
    "stack",
]
