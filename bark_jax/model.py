"""A model as it is loaded, saved and asked about itself; what it can say is in `bark_jax.bark`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self, Unpack, cast

import numpy as np
from flax import nnx
from jax import Array
from jax.sharding import Mesh
from tokenizers import Tokenizer

from bark_jax import checkpoint, saving
from bark_jax.compile_cache import choose as choose_compile_cache
from bark_jax.config import NETWORKS, RANDOM, BarkConfig
from bark_jax.engine import Engine, placement
from bark_jax.frontend import Frontend, VoiceSource
from bark_jax.hearing.clips import time_speech
from bark_jax.hearing.cloning import Heard, listen, make_voice, warn_of
from bark_jax.hearing.finding import find_tokenizer
from bark_jax.inputs import Options
from bark_jax.loading import resolve
from bark_jax.models.encodec import Encodec
from bark_jax.models.fine_gpt import FineGPT
from bark_jax.models.gpt import GPT
from bark_jax.models.random_networks import random_network
from bark_jax.policy import DTypes, Policy, network_dtypes
from bark_jax.settings import Overrides, Settings, SettingsError
from bark_jax.sharding import check_mesh
from bark_jax.speech.speech import Speech
from bark_jax.stages.noise import seed_key
from bark_jax.text import builtin_tokenizer, load_tokenizer
from bark_jax.voices.voice import Voice


class Model:
    """Four networks (`engine`), and a tokenizer, voices and default settings (`frontend`)."""

    def __init__(
        self,
        config: BarkConfig,
        networks: Mapping[str, nnx.Module],
        tokenizer: Tokenizer,
        *,
        voice_folder: Path | None = None,
        mesh: Mesh | None = None,
        offload: bool = False,
        name: str | None = None,
    ) -> None:
        """networks: where they are to be used: on the mesh if there is one; in NumPy arrays to be offloaded.

        name: of the model, kept in its clips.
        """
        self.config = config
        self.engine = Engine(config, networks, mesh=mesh, offload=offload, name=name)
        self.frontend = Frontend(
            config, tokenizer, voice_folder=voice_folder, may_draw_seeds=mesh is None or not mesh.is_multi_process,
            make_fine=self.make_fine,
        )  # fmt: skip

    def __repr__(self) -> str:
        return repr(self.engine).replace("Engine of", "Bark", 1)

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        *,
        dtype: DTypes = None,
        param_dtype: DTypes = None,
        mesh: Mesh | None = None,
        offload: bool = False,
        revision: str | None = None,
        token: str | None = None,
        progress: bool = False,
        compile_cache: bool | str | Path | None = None,
        name: str | None = None,
    ) -> Self:
        """Load a model.

        source: a converted checkpoint; a folder with Suno's or Hugging Face's files, or a hub id (`suno/bark-small`),
        which is converted once into the user's cache; `nano`, the small model that this package brings; or
        `random:tiny`, `random:small`, `random:large` for random weights. dtype: what the transformers compute in,
        "float32", "bfloat16", "float16" or "int8" (of the weights alone, as is bfloat16 on CPUs), or a mapping such as
        `{"semantic": "bfloat16"}` (default: float32 on CPUs and cards that do not multiply bfloat16, else bfloat16; the
        codec is always float32); param_dtype: what they are stored in (default: dtype). mesh: several devices to share
        the work, see `bark_jax.sharding`. offload: keep the weights in the host's memory, and on the device only those
        of the stage at work (of no use on CPU, where they are copied or aliased in the same memory). revision, token:
        for the hub. compile_cache: where compiled programs are kept for other processes, True, False or a folder
        (default: in the user's cache, unless JAX's own settings say otherwise; see `bark_jax.compile_cache.choose`).
        name: kept in what it makes (default: source). Raises CheckpointError, ConfigError for an unknown preset, and
        ValueError for another dtype or an unusable mesh.
        """
        choose_compile_cache(compile_cache)
        if str(source).startswith(RANDOM):
            config = BarkConfig.preset(str(source).removeprefix(RANDOM))
            return cls.from_config(
                config, seed_key(0), dtype=dtype, param_dtype=param_dtype, mesh=mesh, offload=offload,
                name=name or str(source),
            )  # fmt: skip
        mesh = check_mesh(mesh)
        dtypes = network_dtypes(dtype, param_dtype, Policy.of_mesh(mesh))
        folder = resolve(source, revision=revision, token=token, progress=progress)
        config = checkpoint.read_config(folder)
        put = placement(mesh, offload=offload)
        networks = {n: checkpoint.read_network(folder, n, config, put=put, **dtypes[n]) for n in NETWORKS}
        voices = folder / "voices"
        return cls(
            config, networks, load_tokenizer(folder), voice_folder=voices, mesh=mesh, offload=offload,
            name=name or str(source),
        )  # fmt: skip

    @classmethod
    def from_config(
        cls,
        config: BarkConfig,
        key: Array,
        *,
        dtype: DTypes = None,
        param_dtype: DTypes = None,
        mesh: Mesh | None = None,
        offload: bool = False,
        name: str | None = None,
    ) -> Self:
        """A model with random weights (noise comes out) and the built-in tokenizer; options as in `from_pretrained`.

        name: of the model, kept in its clips.
        """
        mesh = check_mesh(mesh)
        dtypes = network_dtypes(dtype, param_dtype, Policy.of_mesh(mesh))
        put = placement(mesh, offload=offload)
        networks = {n: random_network(config, n, key, put=put, **dtypes[n]) for n in NETWORKS}
        return cls(config, networks, builtin_tokenizer(), mesh=mesh, offload=offload, name=name)

    @property
    def semantic(self) -> GPT:
        """Text → semantic tokens."""
        return cast(GPT, self.engine.networks["semantic"])

    @property
    def coarse(self) -> GPT:
        """Semantic tokens → the first codebooks."""
        return cast(GPT, self.engine.networks["coarse"])

    @property
    def fine(self) -> FineGPT:
        """The first codebooks → all of them."""
        return cast(FineGPT, self.engine.networks["fine"])

    @property
    def codec(self) -> Encodec:
        """Codes ↔ waveform."""
        return cast(Encodec, self.engine.networks["codec"])

    @property
    def mesh(self) -> Mesh | None:
        """The devices that share the work, if there are several."""
        return self.engine.mesh

    @property
    def offload(self) -> bool:
        """Whether the weights stay in the host's memory until their stage runs."""
        return self.engine.offload

    @property
    def tokenizer(self) -> Tokenizer:
        """Text → WordPiece ids."""
        return self.frontend.tokenizer

    @property
    def voice_folder(self) -> Path | None:
        """Where the voices that came with the model are, if any did."""
        return self.frontend.voice_folder

    @property
    def settings(self) -> Settings:
        """What is used where a call says nothing else: the checkpoint's, and may be replaced."""
        return self.frontend.settings

    @settings.setter
    def settings(self, settings: Settings) -> None:
        self.frontend.settings = settings

    def save_pretrained(self, folder: str | Path, layout: str = "bark_jax") -> Path:
        """Write the model, its tokenizer and the voices that came with it into a folder, which is returned.

        layout: "bark_jax", a converted checkpoint; "huggingface", for `transformers.BarkModel` (one safetensors file,
        no PyTorch needed); "suno", Suno's `.pt` files (needs PyTorch). Converted back, each is bit for bit this model.
        Parameters are written as they are here: load with `dtype="float32"` to save that. The folder appears only when
        it is complete. Raises CheckpointError, also for a model that the layout has no words for.
        """
        saving.save(self.engine, self.frontend, Path(folder), layout)
        return Path(folder)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        layout: str = "bark_jax",
        private: bool | None = None,
        token: str | None = None,
        commit_message: str | None = None,
    ) -> str:
        """Upload what `save_pretrained` writes, with a model card, to a repository of the hub; the commit's address.

        The repository is made if need be; `private` is for that. Raises CheckpointError.
        """
        return saving.push(self.engine, self.frontend, repo_id, layout, private, token, commit_message)

    def warm_up(
        self,
        batch_sizes: Sequence[int] = (1,),
        *,
        settings: Settings | None = None,
        ranking: bool = False,
        **overrides: Unpack[Overrides],
    ) -> None:
        """Compile now what `generate`, `speak` and `stream` would compile when they are first called.

        batch_sizes: of the batches to come; a stream and a lone text are batches of 1. settings, overrides: of which
        only matters whether there is a top-k and a top-p of each stage. ranking: also what `best_of` needs. With a
        compile cache (`from_pretrained`) this is quick from the second process on. Raises SettingsError.
        """
        for size in dict.fromkeys(batch_sizes):
            if not isinstance(size, int) or size < 1:
                raise SettingsError(f"a batch size must be an integer ≥ 1, not {size!r}")
            options = self.frontend.options("none", 0, settings, **overrides)
            self.engine.warm_up(size, options.settings, scores=ranking)

    def find_voice(self, voice: VoiceSource) -> Voice | None:
        """The voice that `generate` would use, checked against this model. Raises VoiceError; warns with VoiceAdjusted.

        A name is looked for among the voices that came with the model, then in the user's library; `"none"` is no
        voice, and None the model's default one, if it has one.
        """
        return self.frontend.find_voice(voice)

    def voice_from(
        self,
        recording: Any,
        *,
        start: float | None = None,
        end: float | None = None,
        force: bool = False,
        language: str | None = None,
        description: str | None = None,
        hubert: str | Path = "hubert",
    ) -> Voice:
        """A recording as a voice; of somebody only with their consent.

        recording: a path, or (waveform float [N] or [N, channels], Hz). start, end: seconds, to choose the stretch;
        otherwise the best 5 … 12 s that end between words. It is brought to a level, coded by the model's encoder, and
        its semantic tokens come from the model's own clusters (nano) or from HuBERT and a quantiser; hubert: which, as
        for `hearing.finding.find_hubert`. force: also of what looks like noise or music. Raises AudioError,
        RecordingError, CheckpointError; warns with RecordingWarning of all that makes it worse.
        """
        heard = listen(recording, self.config.codec.sample_rate, start=start, end=end, force=force)
        warn_of(heard, stacklevel=2)
        return self.voice_of(heard, language=language, description=description, hubert=hubert)

    def voice_of(
        self,
        heard: Heard,
        *,
        language: str | None = None,
        description: str | None = None,
        hubert: str | Path = "hubert",
    ) -> Voice:
        """The voice of what `hearing.cloning.listen` chose of a recording; otherwise as `voice_from`."""
        folder = self.voice_folder.parent if self.voice_folder else None
        semantic = find_tokenizer(folder, self.config, hubert)(heard.waveform, self.config.codec.sample_rate)
        codes = self.engine.encode(heard.waveform)
        return make_voice(
            heard, self.config, codes, semantic, language=language, description=description, model=self.engine.name
        )

    def time_words(self, speech: Speech, text: str | None = None, *, trim_tail: bool = False) -> Speech:
        """A speech with the times of its words in the joined audio, and the tails of its pieces (see `hearing.timing`).

        text: which the words' spans are of (default: `speech.text`). trim_tail: cut the tails, and join the pieces
        again. One pass of the semantic network for each piece.
        """
        text = speech.text if text is None else text
        return time_speech(self.engine, self.frontend, speech, text, trim_tail=trim_tail)

    def make_fine(self, coarse: np.ndarray) -> np.ndarray:
        """The fine codes of a voice that lacks them: of its coarse codes, int [2, T], with the seed 0."""
        return self.engine.run("fine", [coarse], [Options(voice=None, seed=0, settings=self.settings)], None)[0]

    def voices(self) -> list[str]:
        """Names that `generate` knows: the voices that came with the checkpoint, then those of the user's library."""
        return self.frontend.voices()
