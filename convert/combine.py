"""How source tensors become one array of the checkpoint. `parts` maps the roles that rules.py gives them to arrays.

KeyError: a part is missing. ValueError: the parts do not go together.
"""

from collections.abc import Callable, Mapping

import numpy as np

Parts = Mapping[str, np.ndarray]
Combine = Callable[[Parts], np.ndarray]


def single(parts: Parts) -> np.ndarray:
    """The one part, unchanged."""
    return parts[""]


def stack(parts: Parts) -> np.ndarray:
    """Parts "0", "1", … along a new first axis."""
    return np.stack([parts[str(index)] for index in range(len(parts))])


def lstm_bias(parts: Parts) -> np.ndarray:
    """PyTorch's LSTM has two biases which are only ever added."""
    if parts["ih"].shape != parts["hh"].shape:
        raise ValueError("the two biases differ in shape")
    return parts["ih"].astype(np.float32) + parts["hh"].astype(np.float32)


def conv_kernel(parts: Parts) -> np.ndarray:
    """[O, I, k] → [k, I, O], float32."""
    return _folded(parts).transpose(2, 1, 0)


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
