"""A loaded model → a folder that others can load, and a repository of the hub."""

import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

from bark_jax.checkpoint import CheckpointError, is_vacant, write_checkpoint
from bark_jax.config import NETWORKS
from bark_jax.loading import converter
from bark_jax.models.parameters import parameters
from bark_jax.voices.library import default_name, list_voices
from bark_jax.voices.voice import Voice

if TYPE_CHECKING:
    from bark_jax.bark import Bark

LAYOUTS = ("bark_jax", "huggingface", "suno")
_SEMANTIC_CLUSTERS = "semantic_tokens.npz"  # beside the voices of a model that was trained here
_OURS = """from bark_jax import Bark

bark = Bark.from_pretrained("{name}")
bark.generate("Hello.").save("hello.wav")"""
_TRANSFORMERS = """from transformers import AutoProcessor, BarkModel

processor, model = AutoProcessor.from_pretrained("{name}"), BarkModel.from_pretrained("{name}")
audio = model.generate(**processor("Hello."))"""


def save(bark: "Bark", folder: Path, layout: str) -> None:
    """See `Bark.save_pretrained`."""
    if layout not in LAYOUTS:
        raise CheckpointError(f"there is no layout {layout!r}: choose from {', '.join(LAYOUTS)}")
    if not is_vacant(folder):
        raise CheckpointError(f"{folder} exists already: delete it or choose another name")
    networks = {name: parameters(bark.engine.networks[name]) for name in NETWORKS}
    tokenizer = bark.tokenizer.to_str()
    default_voice = default_name(bark.voice_folder) if bark.voice_folder else None
    if layout != "bark_jax":
        if default_voice:
            warnings.warn(f"this layout has no default voice: give voice={default_voice!r} then", stacklevel=3)
        export = converter().export_checkpoint
        export(folder, layout, bark.config, networks, tokenizer_json=tokenizer, voices=_voices(bark))
        return
    write_checkpoint(
        folder, bark.config, {name: _arrays(values) for name, values in networks.items()}, tokenizer_json=tokenizer,
        voices=_voices(bark), default_voice=default_voice, dtype=_dtype(networks),
    )  # fmt: skip
    clusters = bark.voice_folder.parent / _SEMANTIC_CLUSTERS if bark.voice_folder else None
    if clusters and clusters.is_file():
        shutil.copy(clusters, folder)


def _arrays(values: dict[str, Any]) -> Iterator[tuple[str, np.ndarray]]:
    return ((path, np.asarray(value)) for path, value in values.items())


def _dtype(networks: dict[str, dict[str, Any]]) -> str:
    """Of the transformers' parameters in the file: float32 holds everything, so it is that where they differ."""
    found = {str(value.dtype) for name, values in networks.items() if name != "codec" for value in values.values()}
    return "bfloat16" if found == {"bfloat16"} else "float32"


def _voices(bark: "Bark") -> Iterator[tuple[str, Voice]]:
    if bark.voice_folder is not None:
        for name in list_voices(bark.voice_folder):
            yield name, Voice.load(bark.voice_folder / f"{name}.npz", bark.config)


def push(bark: "Bark", repo_id: str, layout: str, private: bool | None, token: str | None, message: str | None) -> str:
    """See `Bark.push_to_hub`."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "model"
        save(bark, folder, layout)
        (folder / "README.md").write_text(model_card(bark, repo_id, layout), encoding="utf-8")
        api = HfApi(token=token)
        try:
            api.create_repo(repo_id, private=private, exist_ok=True)
            done = api.upload_folder(
                repo_id=repo_id, folder_path=folder, commit_message=message or "Upload a Bark model"
            )
        except HfHubHTTPError as error:
            raise CheckpointError(
                f"the hub refused {repo_id}: {str(error).strip().partition(chr(10))[0]}; "
                "writing takes `hf auth login` or a token with that right"
            ) from error
    return str(done.commit_url)


def model_card(bark: "Bark", name: str, layout: str) -> str:
    """README.md of a repository: metadata that the hub reads, sizes, how to load the model. The license is yours."""
    library = "transformers" if layout == "huggingface" else "bark_jax"
    networks = {network: parameters(bark.engine.networks[network]) for network in NETWORKS}
    sizes = "\n".join(
        f"| {network} | {sum(int(np.prod(value.shape)) for value in values.values()):,} |"
        for network, values in networks.items()
    )
    voices = ", ".join(f"`{voice}`" for voice in list_voices(bark.voice_folder)[:20]) if bark.voice_folder else ""
    example = (_TRANSFORMERS if layout == "huggingface" else _OURS).format(name=name)
    return f"""---
library_name: {library}
pipeline_tag: text-to-speech
tags:
- bark
- text-to-speech
- jax
---

# {name.rpartition("/")[2]}

A [Bark](https://github.com/suno-ai/bark) model, saved by bark_jax in the layout `{layout}`; audio at
{bark.config.codec.sample_rate} Hz.

```python
{example}
```

| network | parameters |
|---|---|
{sizes}

Voices: {voices or "none"}
"""
