"""`--verify`: the converted networks against PyTorch's own, loaded by PyTorch's own code.

The only module that needs torch and transformers. It shares no table with the conversion.
"""

import contextlib
import pickle
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from bark_jax.checkpoint import read_config, read_network
from bark_jax.config import NETWORKS, BarkConfig, FineGPTConfig, GPTConfig
from bark_jax.models.encodec import Encodec, Encoder
from bark_jax.models.fine_gpt import FineGPT
from bark_jax.models.gpt import GPT

from .errors import ConversionError, refuse
from .source import Source

if TYPE_CHECKING:
    import torch

_TOLERANCE = 1e-4  # of ‖ours − theirs‖ / ‖theirs‖
_BATCH, _LENGTH = 2, 64
_MODULES = {"semantic": "semantic", "coarse": "coarse_acoustics", "fine": "fine_acoustics", "codec": "codec_model"}

_SUNO_NAMES = {
    r"^_orig_mod\.": "",
    r"^transformer\.": "",
    r"^h\.": "layers.",
    r"^wte\.": "input_embeds_layer.",
    r"^wtes\.": "input_embeds_layers.",
    r"^wpe\.": "position_embeds_layer.",
    r"^ln_f\.": "layernorm_final.",
    r"\.ln_": ".layernorm_",
    r"attn\.c_attn": "attn.att_proj",
    r"attn\.c_proj": "attn.out_proj",
    r"mlp\.c_fc": "mlp.in_proj",
    r"mlp\.c_proj": "mlp.out_proj",
}
_ENCODEC_NAMES = {
    r"\.model\.": ".layers.",
    r"conv\.conv\.": "conv.",
    r"convtr\.convtr\.": "conv.",
    r"quantizer\.vq\.": "quantizer.",
    r"_codebook": "codebook",
}


def verify(source: Source, out: Path, *, progress: bool = True) -> None:
    """Compare each network's outputs on random inputs with those of transformers' BarkModel; print the relative errors.

    Both compute in float32; PyTorch's weights are rounded as those of the checkpoint are. Raises ConversionError naming
    every network that differs, or if torch or transformers is not installed or cannot load the source.
    """
    try:
        import torch
        import transformers  # noqa: F401
    except ImportError as error:
        raise ConversionError(
            f"the checkpoint is written, but --verify needs torch and transformers: {error}"
        ) from error
    config = read_config(out)
    with torch.inference_mode():
        model = _suno_model(source.suno_files, config) if source.suno_files else _huggingface_model(source.folder)
        errors = {name: error for network in NETWORKS for name, error in _compare(network, out, config, model)}
    if progress:
        print("relative errors:", ", ".join(f"{name} {error:.1e}" for name, error in errors.items()), file=sys.stderr)
    wrong = [f"{name}: relative error {error:.1e}" for name, error in errors.items() if not error <= _TOLERANCE]
    refuse(f"{out} differs from PyTorch's networks by more than {_TOLERANCE:.0e}", wrong)


def _compare(network: str, out: Path, config: BarkConfig, model: Any) -> Iterator[tuple[str, float]]:
    """Name and relative error of each output of one network."""
    ours: Any = read_network(out, network, config)
    random = np.random.default_rng(0)
    if network == "codec":
        yield from _compare_codec(ours, model.codec_model.eval(), config, random)
        return
    theirs = model.get_submodule(_MODULES[network]).eval()
    theirs = theirs.bfloat16().float() if ours.position_embedding.dtype == jnp.bfloat16 else theirs.float()
    if network == "fine":
        yield from _compare_fine(ours, theirs, config, random)
        return
    tokens = random.integers(theirs.config.input_vocab_size, size=(_BATCH, _LENGTH), dtype=np.int32)
    logits = theirs(input_ids=_tensor(tokens)).logits
    yield network, _relative_error(jax.jit(_logits)(ours, tokens), logits)


def _logits(gpt: GPT, tokens: Array) -> Array:
    return gpt(gpt.embed(tokens))


def _compare_fine(
    ours: Any, theirs: Any, config: BarkConfig, random: np.random.Generator
) -> Iterator[tuple[str, float]]:
    gpt = config.fine.gpt
    codes = random.integers(gpt.vocab, size=(_BATCH, gpt.codebooks, _LENGTH), dtype=np.int32)
    for codebook in range(1, gpt.codebooks):
        logits = theirs(codebook, input_ids=_tensor(codes.transpose(0, 2, 1))).logits
        yield f"fine {codebook}", _relative_error(jax.jit(FineGPT.__call__)(ours, codes, codebook), logits)


def _compare_codec(
    ours: Any, theirs: Any, config: BarkConfig, random: np.random.Generator
) -> Iterator[tuple[str, float]]:
    codec = config.codec
    codes = random.integers(codec.codebook_size, size=(_BATCH, codec.codebooks, _LENGTH), dtype=np.int32)
    waveform = random.standard_normal((_BATCH, codec.hop * _LENGTH), np.float32)
    latents = theirs.quantizer.decode(_tensor(codes.transpose(1, 0, 2)))
    decoded = theirs.decoder(latents)[:, 0]
    lengths = np.full(_BATCH, _LENGTH, np.int32)
    yield "decoder", _relative_error(jax.jit(Encodec.decode)(ours, codes, lengths), decoded)
    encoded = theirs.encoder(_tensor(waveform)[:, None]).transpose(1, 2)
    yield "encoder", _relative_error(jax.jit(Encoder.__call__)(ours.encoder, waveform[..., None]), encoded)


def _tensor(array: np.ndarray) -> "torch.Tensor":
    import torch

    return torch.tensor(array, dtype=torch.long if array.dtype == np.int32 else None)


def _relative_error(ours: Any, theirs: "torch.Tensor") -> float:
    expected = theirs.double().numpy()
    return float(np.linalg.norm(np.asarray(ours, np.float64) - expected) / np.linalg.norm(expected))


@contextlib.contextmanager
def _loading(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError, pickle.UnpicklingError) as error:
        raise ConversionError(f"the checkpoint is written, but PyTorch cannot load {path}: {error}") from error


def _huggingface_model(folder: Path) -> Any:
    import torch
    from transformers import BarkModel

    with _loading(folder):
        return BarkModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32)


def _suno_model(files: Mapping[str, Path], config: BarkConfig) -> Any:
    """transformers' model with the weights of Suno's files."""
    from transformers import BarkConfig as TorchBarkConfig
    from transformers import BarkModel
    from transformers.initialization import no_init_weights

    with no_init_weights():
        model = BarkModel(
            TorchBarkConfig(
                semantic_config=_torch_sizes(config.semantic.gpt),
                coarse_acoustics_config=_torch_sizes(config.coarse.gpt),
                fine_acoustics_config=_torch_sizes(config.fine.gpt),
            )
        )
    for network, path in files.items():
        names = _ENCODEC_NAMES if network == "codec" else _SUNO_NAMES
        module = model.get_submodule(_MODULES[network])
        with _loading(path):
            state = _torch_load(path)
            mismatch = module.load_state_dict(_renamed(state.get("model", state), names), strict=False)
        keys = [*mismatch.missing_keys, *mismatch.unexpected_keys]
        refuse(f"PyTorch cannot load {path}", [key for key in keys if not key.endswith("attn.bias")])
    return model


def _torch_sizes(gpt: GPTConfig | FineGPTConfig) -> dict[str, Any]:
    sizes = {
        "num_layers": gpt.layers, "num_heads": gpt.heads, "hidden_size": gpt.width, "block_size": gpt.block_size,
        "bias": gpt.bias,
    }  # fmt: skip
    if isinstance(gpt, GPTConfig):
        return sizes | {"input_vocab_size": gpt.input_vocab, "output_vocab_size": gpt.output_vocab}
    return sizes | {"input_vocab_size": gpt.vocab, "output_vocab_size": gpt.vocab, "n_codes_total": gpt.codebooks}


def _torch_load(path: Path) -> dict[str, Any]:
    """torch's own safe loader, with numpy scalars allowed."""
    import _codecs

    import torch

    scalar: Any = np.float64(0).__reduce__()[0]
    harmless: list[Any] = [(scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    harmless += [np.dtype, type(np.dtype(np.float64)), type(np.dtype(np.float32)), _codecs.encode]
    with torch.serialization.safe_globals(harmless):
        loaded: dict[str, Any] = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    return loaded


def _renamed(state: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    renamed = {}
    for key, tensor in state.items():
        for pattern, replacement in names.items():
            key = re.sub(pattern, replacement, key)
        renamed[key] = tensor
    return renamed
