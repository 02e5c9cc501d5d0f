"""How source tensors become one array of the checkpoint, and back: `split` is the inverse of each function here.

`parts` maps the roles that rules.py gives the tensors to arrays.

KeyError: a part is missing. ValueError: the parts do not go together.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Parts = Mapping[str, np.ndarray]
Combine = Callable[[Parts], np.ndarray]


def single(parts: Parts) -> np.ndarray:
    """The one part, unchanged."""
    return parts[""]


def stack(parts: Parts) -> np.ndarray:
    """Parts "0", "1", … along a new first axis."""
    return np.stack([parts[str(index)] for index in range(len(parts))])


def side_by_side(parts: Parts) -> np.ndarray:
    """Queries, keys and values, parts "q", "k" and "v", along the first axis."""
    return np.concatenate([parts[name] for name in "qkv"])


def lstm_bias(parts: Parts) -> np.ndarray:
    """PyTorch's LSTM has two biases which are only ever added."""
    if parts["ih"].shape != parts["hh"].shape:
        raise ValueError("the two biases differ in shape")
    return parts["ih"].astype(np.float32) + parts["hh"].astype(np.float32)


def conv_kernel(parts: Parts) -> np.ndarray:
    """[O, I, k] → [k, I, O], float32."""
    return _folded(parts).transpose(2, 1, 0)


def position_kernel(parts: Parts) -> np.ndarray:
    """HuBERT's convolution of positions, [O, I, k] → [k, I, O], float32: its weight norm is over all but the taps."""
    if parts.keys() == {"weight"}:
        return conv_kernel(parts)
    g, v = parts["g"].astype(np.float64), parts["v"].astype(np.float64)
    if "weight" in parts or v.ndim != 3 or g.shape != (1, 1, v.shape[2]):
        raise ValueError(f"g {g.shape} and v {v.shape} of weight normalisation do not fit")
    with np.errstate(invalid="ignore", divide="ignore"):  # the caller refuses what is not finite
        weight = (g * v / np.sqrt(np.square(v).sum((0, 1), keepdims=True))).astype(np.float32)
    return weight.transpose(2, 1, 0)


def subpixel_kernel(parts: Parts) -> np.ndarray:
    """A transposed convolution with stride r, [I, O, 2r], as one of width 2 over (x[t−1], x[t]): [2, I, r·O], float32.

    Output sample t·r + j takes x[t] through tap j and x[t−1] through tap j + r.
    """
    weight = _folded(parts)
    inputs, outputs, width = weight.shape
    taps = weight.reshape(inputs, outputs, 2, width // 2)[:, :, ::-1]  # [I, O, 2, r], the earlier input first
    return taps.transpose(2, 0, 3, 1).reshape(2, inputs, -1)  # [2, I, r·O]


def _folded(parts: Parts) -> np.ndarray:
    """Weight normalisation, w = g · v / ‖v‖ with the norm over all axes but the first; three axes, float32."""
    if parts.keys() == {"weight"}:
        weight = parts["weight"].astype(np.float32)
    elif "weight" in parts:
        raise ValueError("a plain weight besides g and v of weight normalisation")
    else:
        g, v = parts["g"].astype(np.float64), parts["v"].astype(np.float64)
        if v.ndim != 3 or g.shape != (v.shape[0], 1, 1):
            raise ValueError(f"g {g.shape} and v {v.shape} of weight normalisation do not fit")
        with np.errstate(invalid="ignore", divide="ignore"):  # the caller refuses what is not finite
            weight = (g * v / np.sqrt(np.square(v).sum((1, 2), keepdims=True))).astype(np.float32)
    if weight.ndim != 3:
        raise ValueError(f"a convolution's weight has three axes, not {weight.shape}")
    return weight


def split(combine: Combine, array: Any, ratio: int) -> dict[str, Any]:
    """Parts that `combine` makes this array of, bit for bit. ratio: up-sampling factor, for a subpixel_kernel."""
    if combine is single:
        return {"": array}
    if combine is stack:
        return {str(index): array[index] for index in range(len(array))}
    values = np.asarray(array, np.float32)
    if combine is lstm_bias:
        return {"ih": values, "hh": np.full_like(values, -0.0)}  # x + −0 is x, even for −0
    if combine is subpixel_kernel:
        taps = values.reshape(2, values.shape[1], ratio, -1).transpose(1, 3, 0, 2)[:, :, ::-1]  # [I, O, 2, r]
        return _unfolded(taps.reshape(*taps.shape[:2], -1))
    return _unfolded(values.transpose(2, 1, 0))


def _unfolded(weight: np.ndarray) -> dict[str, np.ndarray]:
    """g, float64, and v, float32, of weight normalisation that `_folded` makes exactly this weight of; [A, B, k].

    In float32 there is not always such a g. PyTorch, whose g is float32, rounds it when it loads.
    """
    zero = ~weight.any((1, 2), keepdims=True)
    v = np.where(zero, np.copysign(np.float32(1), weight), weight)
    g = np.sqrt(np.square(v.astype(np.float64)).sum((1, 2), keepdims=True))
    return {"g": np.where(zero, 0.0, g), "v": v}
