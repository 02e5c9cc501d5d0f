"""Training and fine-tuning of Bark's four networks. The names below are imported when they are first used."""

from typing import TYPE_CHECKING

from bark_jax import lazy

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

if TYPE_CHECKING:
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
else:
    __getattr__, __dir__ = lazy.attributes(
        __name__,
        {
            "Assignments": "bark_jax.training.codec",
            "AudioClips": "bark_jax.training.dataset",
            "Clip": "bark_jax.training.dataset",
            "CoarseBatch": "bark_jax.training.batches",
            "CodecBatch": "bark_jax.training.batches",
            "CodecTraining": "bark_jax.training.config",
            "DataError": "bark_jax.training.shards",
            "FineBatch": "bark_jax.training.batches",
            "KMeansTokenizer": "bark_jax.training.semantic_tokens",
            "LoraConfig": "bark_jax.training.config",
            "Loss": "bark_jax.training.losses",
            "Metrics": "bark_jax.training.step",
            "RunConfig": "bark_jax.training.run",
            "Schedule": "bark_jax.training.run",
            "SemanticBatch": "bark_jax.training.batches",
            "SemanticTokenizer": "bark_jax.training.semantic_tokens",
            "TokenClips": "bark_jax.training.dataset",
            "TrainConfig": "bark_jax.training.config",
            "TrainState": "bark_jax.training.step",
            "Trainer": "bark_jax.training.step",
            "TrainingError": "bark_jax.errors",
            "coarse_examples": "bark_jax.training.batches",
            "coarse_loss": "bark_jax.training.losses",
            "codec_loss": "bark_jax.training.codec",
            "fine_example": "bark_jax.training.batches",
            "fine_loss": "bark_jax.training.losses",
            "open_audio": "bark_jax.training.dataset",
            "open_tokens": "bark_jax.training.dataset",
            "run_training": "bark_jax.training.run",
            "sample_coarse": "bark_jax.training.batches",
            "sample_codebooks": "bark_jax.training.codec",
            "sample_fine": "bark_jax.training.batches",
            "sample_waveform": "bark_jax.training.batches",
            "semantic_example": "bark_jax.training.batches",
            "semantic_loss": "bark_jax.training.losses",
            "stack": "bark_jax.training.batches",
        },
    )
