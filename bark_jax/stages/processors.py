"""Logits processors, to be used and to be read as examples: pure functions `(logits, state) → logits`.

    from bark_jax.stages.processors import ClassifierFreeGuidance, RepetitionPenalty

    bark.generate("Hello", logits_processors={"semantic": RepetitionPenalty(1.2, steps=50)})

Frozen dataclasses, so that two of the same numbers are equal and share a compiled program.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array

from bark_jax.settings import SettingsError
from bark_jax.stages.hooks import LogitsState


@dataclass(frozen=True)
class RepetitionPenalty:
    """Makes tokens that were made before less probable (Keskar et al. 2019, "CTRL", section 4.1).

    A positive logit is divided by `penalty`, a negative one multiplied: 1 changes nothing. In the coarse stage only
    codes of the same codebook count. Semantic and coarse.
    """

    penalty: float
    steps: int | None = None  # looked back on; None: all

    def __call__(self, logits: Array, state: LogitsState) -> Array:
        """Logits [B, V] → [B, V]."""
        position = jnp.arange(state.tokens.shape[1])
        counted = (state.tokens >= 0) & (position % state.codebooks == state.codebook)  # [B, N]
        if self.steps is not None:
            counted = counted & (position >= state.step - self.steps)
        nowhere = logits.shape[1]
        rows = jnp.arange(len(logits))[:, None]
        made = jnp.zeros(logits.shape, bool).at[rows, jnp.where(counted, state.tokens, nowhere)].set(True, mode="drop")
        return jnp.where(made, jnp.where(logits > 0, logits / self.penalty, logits * self.penalty), logits)


@dataclass(frozen=True)
class ClassifierFreeGuidance:
    """Follows a text more closely than the model would: log p = log p₁ + (scale − 1) · (log p₁ − log p₂).

    The items of a batch are pairs: rows 0, 2, … have the text that is wanted (p₁), rows 1, 3, … what to move away from
    (p₂), such as a neutral text or another voice. With one seed for both, the two rows of a pair draw the same tokens,
    and both results are the guided clip:

        wanted, _ = bark.generate(
            ["Oh no!", "Hm."], seed=7, logits_processors={"semantic": ClassifierFreeGuidance(2.0)}
        )

    A scale of 1 is the wanted text alone. Semantic and coarse. (Ho and Salimans 2022.)
    """

    scale: float

    def __call__(self, logits: Array, state: LogitsState) -> Array:
        """Logits [B, V] → [B, V], alike in each pair. Raises SettingsError for an odd number of rows."""
        if len(logits) % 2:
            raise SettingsError(f"classifier-free guidance needs pairs of items, not {len(logits)}")
        wanted, other = jax.nn.log_softmax(logits[::2], axis=1), jax.nn.log_softmax(logits[1::2], axis=1)
        both = jnp.isfinite(wanted) & jnp.isfinite(other)
        guided = jnp.where(both, wanted + (self.scale - 1) * jnp.where(both, wanted - other, 0), wanted)
        return jnp.repeat(guided, 2, axis=0)
