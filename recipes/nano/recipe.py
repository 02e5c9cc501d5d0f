"""The steps from nothing to an evaluated model, each of which is skipped when what it makes is there.

Under one folder: texts/, speech/, model/ (configuration, tokenizer and networks as they are trained), refined/ (the
coarse network, fine-tuned), data/, runs/ and nano/: the model, and a report with the trainings' logs. There are texts,
speech and data of two kinds, `sounds` for all stages but the semantic one, and `words` for that one and the
fine-tuning; and texts and speech that are held out.
"""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bark_jax import checkpoint
from bark_jax.bark import Bark
from bark_jax.config import NETWORKS, BarkConfig
from bark_jax.errors import TrainingError
from bark_jax.layouts import NANO
from bark_jax.models.parameters import parameters
from bark_jax.text import known_words, load_tokenizer
from bark_jax.training.config import require
from bark_jax.training.dataset import Clip, TokenClips, open_tokens
from bark_jax.training.logs import METRICS
from bark_jax.training.prepare import Preparation, prepare
from bark_jax.training.run import RunConfig, run_training
from bark_jax.training.semantic_tokens import CLUSTERS
from bark_jax.voices.metadata import VoiceMetadata
from bark_jax.voices.voice import Voice
from recipes.nano.config import nano_config
from recipes.nano.evaluate import REPORT, SUMMARY, evaluate
from recipes.nano.speech import TABLE, synthesize, take_turns
from recipes.nano.texts import FILES, make_texts, read_texts, write_texts
from recipes.nano.tokenizer import make_tokenizer

_DEFAULT_VOICE = "eve"  # without one, most seeds would be a man and some a woman
_VOICE_SECONDS = 3.0  # of the clip that a voice preset is, about
_SETTINGS = Path(__file__).parent

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Where it is all made, and of how many sentences. A folder that was begun with others keeps what is there."""

    to: Path
    sounds: int = 12_000  # for the stages that learn sounds: all but the semantic one
    words: int = 48_000  # for the semantic stage, which learns words, and to fine-tune the coarse one
    held_out: int = 200  # to test with, less those that are among the sounds
    overrides: tuple[str, ...] = ()  # of the settings of every training, such as "train.steps=100"
    say: Say = print

    def __post_init__(self) -> None:
        for name in FILES:
            require(self, name, getattr(self, name) >= 1, "≥ 1")

    @property
    def steps(self) -> Mapping[str, Callable[[], None]]:
        """Name → what makes it, in order."""
        return {
            "texts": self._texts,
            "model": self._model,
            "speech": self._speech,
            "audio": lambda: self._prepare("sounds", only_audio=True),
            "codec": lambda: self._train("codec", "sounds"),
            "tokens": self._tokens,
            "semantic": lambda: self._train("semantic", "words"),
            "coarse": lambda: self._train("coarse", "sounds"),
            "refine": self._refine,
            "fine": lambda: self._train("fine", "sounds"),
            "export": self._export,
            "evaluate": self._evaluate,
        }

    def run(self, only: Sequence[str] = ()) -> None:
        """All steps, or only those. Raises TrainingError and what the steps raise."""
        if unknown := [name for name in only if name not in self.steps]:
            raise TrainingError(f"there is no step {', '.join(unknown)}: choose from {', '.join(self.steps)}")
        for name, step in self.steps.items():
            if not only or name in only:
                self.say(f"{name} …")
                step()

    def _texts(self) -> None:
        if not all((self.to / "texts" / f"{name}.txt").exists() for name in FILES):
            write_texts(make_texts(self.sounds, self.words, self.held_out), self.to / "texts")

    def _model(self) -> None:
        for folder in (self.to / "model", self.to / "refined"):
            if not checkpoint.is_checkpoint(folder):
                checkpoint.write_model_folder(folder, nano_config(), tokenizer_json=make_tokenizer().to_str())

    def _speech(self) -> None:
        texts = read_texts(self.to / "texts")
        for name in FILES:
            folder = self.to / "speech" / name
            if not (folder / TABLE).exists():
                synthesize(take_turns(getattr(texts, name)), folder, self._tell)

    def _tell(self, done: int, total: int) -> None:
        if done % 1000 == 0 or done == total:
            self.say(f"  {done} of {total} sentences spoken")

    def _tokens(self) -> None:
        self._prepare("sounds")
        self._prepare("words", clusters=self._clusters)

    def _prepare(self, name: str, *, only_audio: bool = False, clusters: Path | None = None) -> None:
        recordings = self.to / "speech" / name
        made = prepare(
            Preparation(
                recordings=recordings, transcripts=recordings / TABLE, to=self.to / "data" / name,
                model=self.to / "model", only_audio=only_audio, semantic_tokens=clusters,
            )
        )  # fmt: skip
        self.say(f"  {name}: {made.manifest.audio.clips} clips, {made.left_out} left out")

    def _train(self, stage: str, data: str) -> None:
        self._learn(stage, stage, {"model": "model", "data": f"data/{data}"})

    def _refine(self) -> None:
        """Fine-tune the coarse stage on what is said, which it has not heard."""
        self._learn("refine", "coarse", {"start": "model", "model": "refined", "data": "data/words"})

    def _learn(self, name: str, stage: str, folders: Mapping[str, str]) -> None:
        """A training with the settings of that name, unless its network is there."""
        if (self.to / folders["model"] / f"{stage}.safetensors").exists():
            return
        places = {**folders, "run": f"runs/{name}"}
        overrides = [f"{key}={json.dumps(str(self.to / folder))}" for key, folder in places.items()]
        config = RunConfig.load(_SETTINGS / f"{name}.toml", [*overrides, *self.overrides])
        run_training(config, stage, say=self.say)

    @property
    def _clusters(self) -> Path:
        return self.to / "data" / "sounds" / CLUSTERS

    @property
    def _report(self) -> Path:
        return self.to / "report"

    def _export(self) -> None:
        """A checkpoint in bfloat16, with a voice for each speaker, the clusters of its semantic tokens and the logs."""
        folder, target = self.to / "model", self.to / NANO
        if not checkpoint.is_checkpoint(target):
            config = checkpoint.read_config(folder)
            words = known_words(read_texts(self.to / "texts").words)
            config = replace(config, semantic=replace(config.semantic, words=words))
            places = dict.fromkeys(NETWORKS, folder) | {"coarse": self.to / "refined"}
            networks = {
                name: ((path, np.asarray(value)) for path, value in _parameters(place, name, config).items())
                for name, place in places.items()
            }
            checkpoint.write_checkpoint(
                target,
                config,
                networks,
                tokenizer_json=load_tokenizer(folder).to_str(pretty=True),
                voices=choose_voices(open_tokens(self.to / "data" / "words", config), config.semantic.rate_hz),
                default_voice=_DEFAULT_VOICE,
                dtype="bfloat16",
                codec_dtype="bfloat16",
            )
        copies = {self._clusters: target / CLUSTERS}
        for name in (*NETWORKS, "refine"):
            copies[self.to / "runs" / name / METRICS] = self._report / "training" / f"{name}.jsonl"
        try:
            for source, copy in copies.items():
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, copy)
        except OSError as error:
            raise TrainingError(f"cannot copy the clusters and logs to {target}: {error}") from error

    def _evaluate(self) -> None:
        if not (self._report / REPORT).exists():
            bark = Bark.from_pretrained(self.to / NANO)
            evaluate(bark, self.to / "speech" / "held_out", self._report)
        self.say((self._report / SUMMARY).read_text(encoding="utf-8"))


def _parameters(folder: Path, name: str, config: BarkConfig) -> dict[str, np.ndarray]:
    return parameters(checkpoint.read_network(folder, name, config))


def choose_voices(clips: TokenClips, rate_hz: float) -> list[tuple[str, Voice]]:
    """Speaker → a voice: the first of the clips whose length is nearest to `_VOICE_SECONDS`."""
    length = round(_VOICE_SECONDS * rate_hz)
    chosen = {}
    for speaker in sorted(set(clips.speakers)):
        mine = [i for i, name in enumerate(clips.speakers) if name == speaker]
        chosen[speaker] = clips[min(mine, key=lambda i: abs(clips.tokens[i] - length))]
    return [(speaker, _as_voice(clip)) for speaker, clip in chosen.items()]


def _as_voice(clip: Clip) -> Voice:
    metadata = VoiceMetadata(language="en", description=f"espeak-ng, {clip.speaker}", model=NANO, text=clip.text)
    tokens = clip.tokens
    return Voice(semantic=tokens.semantic, coarse=tokens.coarse, fine=tokens.fine, metadata=metadata)
