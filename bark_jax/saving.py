"""A loaded model → a folder that others can load, and a repository of the hub."""

import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

from bark_jax.checkpoint import CheckpointError, is_vacant, write_checkpoint
from bark_jax.config import NETWORKS
from bark_jax.engine import Engine
from bark_jax.frontend import Frontend
from bark_jax.layouts import SEMANTIC_CLUSTERS
from bark_jax.loading import converter
from bark_jax.models.parameters import parameters
from bark_jax.models.quantised import SCALES, dequantised
from bark_jax.policy import TRANSFORMERS
from bark_jax.voices.library import default_name, list_voices
from bark_jax.voices.voice import Voice

LAYOUTS = ("bark_jax", "huggingface", "suno")
_OURS = """from bark_jax import Bark

bark = Bark.from_pretrained("{name}")
bark.generate("Hello.").save("hello.wav")"""
_TRANSFORMERS = """from transformers import AutoProcessor, BarkModel

processor, model = AutoProcessor.from_pretrained("{name}"), BarkModel.from_pretrained("{name}")
audio = model.generate(**processor("Hello."))"""


def save(engine: Engine, frontend: Frontend, folder: Path, layout: str) -> None:
    """See `Bark.save_pretrained`."""
    if layout not in LAYOUTS:
        raise CheckpointError(f"there is no layout {layout!r}: choose from {', '.join(LAYOUTS)}")
    if not is_vacant(folder):
        raise CheckpointError(f"{folder} exists already: delete it or choose another name")
    networks = {name: parameters(engine.networks[name]) for name in NETWORKS}
    dtype = _dtype(networks) if layout == "bark_jax" else "float32"
    if dtype != "int8":
        networks = {name: dequantised(values) for name, values in networks.items()}
    tokenizer = frontend.tokenizer.to_str()
    default_voice = default_name(frontend.voice_folder) if frontend.voice_folder else None
    if layout != "bark_jax":
        if default_voice:
            warnings.warn(f"this layout has no default voice: give voice={default_voice!r} then", stacklevel=3)
        export = converter().export_checkpoint
        export(folder, layout, frontend.config, networks, tokenizer_json=tokenizer, voices=_voices(frontend))
        return
    write_checkpoint(
        folder, frontend.config, {name: _arrays(values) for name, values in networks.items()}, tokenizer_json=tokenizer,
        voices=_voices(frontend), default_voice=default_voice, dtype=dtype,
    )  # fmt: skip
    clusters = frontend.voice_folder.parent / SEMANTIC_CLUSTERS if frontend.voice_folder else None
    if clusters and clusters.is_file():
        shutil.copy(clusters, folder)


def _arrays(values: dict[str, Any]) -> Iterator[tuple[str, np.ndarray]]:
    return ((path, np.asarray(value)) for path, value in values.items())


def _dtype(networks: dict[str, dict[str, Any]]) -> str:
    """Of the transformers' parameters in the file: float32 holds everything, so it is that where they differ."""
    found = {str(value.dtype) for name, values in networks.items() if name != "codec" for value in values.values()}
    if found == {"int8", "float32"} and all(any(path.endswith(SCALES) for path in networks[n]) for n in TRANSFORMERS):
        return "int8"
    return "bfloat16" if found == {"bfloat16"} else "float32"


def _voices(frontend: Frontend) -> Iterator[tuple[str, Voice]]:
    if frontend.voice_folder is not None:
        for name in list_voices(frontend.voice_folder):
            yield name, Voice.load(frontend.voice_folder / f"{name}.npz", frontend.config)


def push(
    engine: Engine, frontend: Frontend, repo_id: str, layout: str, private: bool | None, token: str | None,
    message: str | None,
) -> str:  # fmt: skip
    """See `Bark.push_to_hub`."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "model"
        save(engine, frontend, folder, layout)
        (folder / "README.md").write_text(model_card(engine, frontend, repo_id, layout), encoding="utf-8")
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


def model_card(engine: Engine, frontend: Frontend, name: str, layout: str) -> str:
    """README.md of a repository: metadata that the hub reads, sizes, how to load the model. The license is yours."""
    library = "transformers" if layout == "huggingface" else "bark_jax"
    networks = {network: parameters(engine.networks[network]) for network in NETWORKS}
    sizes = "\n".join(
        f"| {network} | {sum(int(np.prod(value.shape)) for value in values.values()):,} |"
        for network, values in networks.items()
    )
    voices = (
        ", ".join(f"`{voice}`" for voice in list_voices(frontend.voice_folder)[:20]) if frontend.voice_folder else ""
    )
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
{frontend.config.codec.sample_rate} Hz.

```python
{example}
```

| network | parameters |
|---|---|
{sizes}

Voices: {voices or "none"}
"""
