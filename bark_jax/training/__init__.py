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
from bark_jax.training.codec import sample_codebooks
from bark_jax.training.config import CodecTraining, LoraConfig, TrainConfig
from bark_jax.training.step import Metrics, Trainer, TrainState

__all__ = [
    "CoarseBatch",
    "CodecBatch",
    "CodecTraining",
    "FineBatch",
    "LoraConfig",
    "Metrics",
    "SemanticBatch",
    "TrainConfig",
    "TrainState",
    "Trainer",
    "TrainingError",
    "coarse_examples",
    "fine_example",
    "sample_coarse",
    "sample_codebooks",
    "sample_fine",
    "sample_waveform",
    "semantic_example",
    "stack",
]
