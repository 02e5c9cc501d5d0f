"""Memory of a device: what a clip takes there, and the error that says how many clips would fit.

What a clip takes is estimated from the sizes of its arrays. `python -m benchmarks.compiled` asks the compilers.
"""

import contextlib
from collections.abc import Iterator

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from bark_jax.config import BarkConfig, FineGPTConfig, GPTConfig
from bark_jax.errors import InputError
from bark_jax.policy import Policy
from bark_jax.stages import coarse, semantic

_USABLE = 0.9  # of the memory: programs, inputs and gaps between arrays take the rest


class DeviceMemoryError(InputError):
    """A batch does not fit the memory of the device."""


def clip_bytes(config: BarkConfig, stage: str, dtype: DTypeLike, policy: Policy) -> int:
    """About how many bytes each clip of a batch takes in a stage, beside the weights."""
    if stage == "codec":
        own = config.codec
        return 8 * 4 * policy.codec_piece * own.hop * own.filters  # a few of the widest signals, float32
    longest = config.coarse.max_semantic + config.coarse.max_history
    sizes: dict[str, tuple[GPTConfig | FineGPTConfig, int, int]] = {
        "semantic": (config.semantic.gpt, semantic.cache_length(config.semantic), config.semantic.max_text),
        "coarse": (config.coarse.gpt, coarse.cache_length(config), longest),
        "fine": (config.fine.gpt, 0, config.fine.gpt.block_size),
    }
    rules, slots, prompt = sizes[stage]
    item = jnp.dtype(dtype).itemsize
    cache = 2 * rules.layers * slots * rules.width * item
    # Of one block at work: the residual stream, what is projected, the hidden layer before and after its activation.
    block = prompt * rules.width * (3 * 4 + 3 * item + 4 * (4 + item))
    scores = 2 * 4 * rules.heads * min(policy.query_chunk, prompt) * prompt
    return cache + block + scores


@contextlib.contextmanager
def batch_that_fits(
    device: jax.Device, count: int, *, stage: str, weights: int, clip: int, devices: int = 1
) -> Iterator[None]:
    """Turns the end of a device's memory into DeviceMemoryError, which names a batch that would fit.

    weights: bytes on the device, clip: what each clip of the batch adds (see `clip_bytes`). devices: that the clips are
    spread over.
    """
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        limit = (device.memory_stats() or {}).get("bytes_limit")
        where = f"the memory of {device.device_kind}" + (f" ({limit / 1e9:.1f} GB)" if limit else "")
        if count <= devices:
            problem = f"a clip does not fit {where}: use offload=True, dtype='bfloat16' or a smaller model"
        else:
            room = int((limit * _USABLE - weights) // clip) * devices if limit else count // 2
            fewer = max(1, min(room, count - 1))
            problem = f"{count} clips at once do not fit {where}: give fewer, such as {fewer} (batch_size={fewer})"
        raise DeviceMemoryError(f"the {stage} stage: {problem}") from error
