"""The three arrays of a voice: the forms in which they are accepted, and the rules that they must keep.

Axes: N semantic tokens, K codebooks, T frames.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from bark_jax.config import BarkConfig

FIELDS = {"semantic": 1, "coarse": 2, "fine": 2}  # → number of axes; each is stored as {field}_prompt
PROMPTS = tuple(f"{field}_prompt" for field in FIELDS)
_COARSE_CODEBOOKS = 2  # of every published model: what coarse codes are taken from fine codes without a config
_MAX_TOKENS = 2_000_000  # of one array, nearly an hour of fine codes: int32, as it is saved, it can be read again

Arrays: TypeAlias = Mapping[str, npt.NDArray[np.generic]]

_REMEDIES = {  # for one that is missing
    "semantic": "nothing makes it from codes: save the voice again with all three arrays",
    "coarse": "it is the first rows of fine_prompt, which cannot be used either",
    "fine": "`bark-jax voices repair FILE --model MODEL` makes it with the model's fine stage",
}


@dataclass(frozen=True)
class Received:
    """The arrays of a voice as they were given, in the form that the stages need."""

    arrays: dict[str, npt.NDArray[Any]]  # by field: those that were given or follow from others
    changes: list[str]  # to what was given

    @property
    def missing(self) -> list[str]:
        """The fields that were not given and do not follow from others."""
        return [field for field in FIELDS if field not in self.arrays]

    @property
    def lack(self) -> str:
        """The names of the missing arrays, with what can be done about a single one; empty if there is none."""
        names = ", ".join(f"{field}_prompt" for field in self.missing)
        return f"{names} ({_REMEDIES[self.missing[0]]})" if len(self.missing) == 1 else names

    def problems(self, config: BarkConfig) -> list[str]:
        """Everything that keeps them from being a voice of the model."""
        return [*([f"it lacks {self.lack}"] if self.missing else []), *self.misfits(config)]

    def misfits(self, config: BarkConfig) -> list[str]:
        """The problems of the arrays that are there."""
        problems, sound = [], {}
        for field, array in self.arrays.items():
            malformations = list(find_malformations(field, array))
            problems += malformations
            if not malformations:
                sound[field] = array
        if {"coarse", "fine"} <= sound.keys():
            problems += find_disagreements(sound)
        return [*problems, *find_misfits(sound, config)]


def receive(prompts: Mapping[str, Any], config: BarkConfig | None = None) -> Received:
    """Bring `semantic_prompt`, `coarse_prompt` and `fine_prompt`, those that there are, into the form of a voice.

    Leading axes of 1 are removed, whole numbers of a float dtype become integers, pads are cut from the end if the
    config names them, and missing coarse codes are the first codebooks of the fine ones. What has another form stays
    as it is, for the rules below to refuse.
    """
    arrays, changes = {}, []
    for field in FIELDS:
        if (prompt := prompts.get(f"{field}_prompt")) is not None:
            arrays[field], done = _normal_form(field, as_array(prompt), config)
            if done:
                changes.append(f"{field}: {', '.join(done)}")
    if "coarse" not in arrays and "fine" in arrays and not list(find_malformations("fine", arrays["fine"])):
        count = config.coarse.codebooks if config else _COARSE_CODEBOOKS
        arrays["coarse"] = arrays["fine"][:count]
        changes.append(f"coarse: missing, the first {count} codebooks of fine are used")
    return Received({field: arrays[field] for field in FIELDS if field in arrays}, changes)


def as_array(values: Any) -> npt.NDArray[Any]:
    """The values as an array, of dtype object if they make none, such as lists of unequal lengths."""
    try:
        if hasattr(values, "detach"):  # a PyTorch tensor, perhaps of a device or with gradients
            values = values.detach().cpu()
        return np.asarray(values)
    except Exception:  # any that the `__array__` of a foreign class raises
        return np.empty(0, object)


def _normal_form(field: str, array: npt.NDArray[Any], config: BarkConfig | None) -> tuple[npt.NDArray[Any], list[str]]:
    """The array, and what was done to it."""
    done = []
    if array.ndim > FIELDS[field] and array.shape[0] == 1:
        while array.ndim > FIELDS[field] and array.shape[0] == 1:
            array = array[0]
        done.append("a leading axis of 1 removed")
    if array.size > _MAX_TOKENS or array.ndim != FIELDS[field]:
        return array, done
    if array.size and array.dtype.kind == "f" and _is_whole(array):
        done.append(f"{array.dtype} made integers")
        array = array.astype(np.int64)
    if config is not None and array.dtype.kind in "iu":
        pad = config.semantic.pad if field == "semantic" else config.fine.pad
        kept = _length_without_pads(array, pad)
        if pads := array.shape[-1] - kept:
            done.append(f"{pads} pad{'s' * (pads > 1)} ({pad}) cut from the end")
            array = array[..., :kept]
    return array, done


def _is_whole(array: npt.NDArray[Any]) -> bool:
    """Whether the floats are whole numbers that were not rounded to be: float16 has no odd ones above 2048."""
    exact = 2 ** (np.finfo(array.dtype).nmant + 1)
    return bool((np.isfinite(array) & (array == np.trunc(array)) & (abs(array) <= exact)).all())


def _length_without_pads(array: npt.NDArray[Any], pad: int) -> int:
    """Up to and including the last position that is not a pad, in all codebooks."""
    tokens = (array != pad).reshape(-1, array.shape[-1]).any(axis=0)
    return int(np.flatnonzero(tokens)[-1]) + 1 if tokens.any() else 0


def find_malformations(field: str, array: npt.NDArray[Any]) -> Iterator[str]:
    """What keeps one array from being token ids of any model."""
    if array.dtype.kind not in "iu":
        yield f"{field} has dtype {array.dtype}, not integers"
    elif array.ndim != FIELDS[field] or not array.size:
        yield f"{field} has shape {array.shape}, not {'[N]' if FIELDS[field] == 1 else '[codebooks, T]'} with tokens"
    elif array.size > _MAX_TOKENS:  # before anything looks at them: a broadcast array may claim any number
        yield f"{field} has shape {array.shape}, more than {_MAX_TOKENS} tokens"
    elif array.min() < 0 or array.max() >= 2**31:
        yield f"{field} holds {array.min()} … {array.max()}, not token ids"


def find_disagreements(arrays: Arrays) -> Iterator[str]:
    """What contradicts between coarse and fine codes that are well-formed."""
    coarse, fine = arrays["coarse"], arrays["fine"]
    if not np.array_equal(fine[: len(coarse)], coarse):
        yield f"coarse {coarse.shape} is not the beginning of fine {fine.shape}"


def find_misfits(arrays: Mapping[str, npt.NDArray[Any]], config: BarkConfig) -> Iterator[str]:
    """What does not fit the model about well-formed arrays, by field: about those that are there."""
    codebooks = {"coarse": config.coarse.codebooks, "fine": config.codec.codebooks}
    for field, tokens in arrays.items():
        if field in codebooks and len(tokens) != codebooks[field]:
            yield f"{field} has {len(tokens)} codebooks, not {codebooks[field]}"
        size = config.codec.codebook_size if field in codebooks else config.semantic.vocab
        if tokens.max() >= size:
            end = "codebooks end" if field in codebooks else "vocabulary ends"
            yield f"{field} holds {tokens.max()}, the {end} at {size - 1}"
    if {"semantic", "fine"} <= arrays.keys():
        yield from _wrong_ratio(len(arrays["semantic"]), arrays["fine"].shape[1], config)


def _wrong_ratio(tokens: int, frames: int, config: BarkConfig) -> Iterator[str]:
    if not rates_agree(tokens, frames, config):
        ratio = round(config.codec.frame_rate_hz / config.semantic.rate_hz, 1)
        yield (
            f"{frames} frames for {tokens} semantic tokens: the ratio is {frames / tokens:.2f}, not {ratio} "
            "(`bark-jax voices repair FILE` keeps the end that fits)"
        )


def rates_agree(tokens: int, frames: int, config: BarkConfig) -> bool:
    """Whether these numbers of frames and semantic tokens, at least one, may belong together: Suno's rule, rounded."""
    return round(frames / tokens, 1) == round(config.codec.frame_rate_hz / config.semantic.rate_hz, 1)
