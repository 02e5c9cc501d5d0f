"""Recordings and a table of transcripts → a folder of training data (see dataset.py), made once.

There are two steps: audio, then tokens, which need a trained codec. Each counts once the manifest says so. What was
made before from the same sources is kept, so an interrupted run resumes after its last complete step.
"""

import dataclasses
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bark_jax.checkpoint import read_config
from bark_jax.config import BarkConfig
from bark_jax.files import replacing, sha256
from bark_jax.hearing.finding import find_hubert
from bark_jax.hearing.names import is_hubert
from bark_jax.text import load_tokenizer
from bark_jax.training.dataset import VERSION, Manifest, expected_numbers, open_audio, read_manifest, write_manifest
from bark_jax.training.prepare_audio import StepProgress, prepare_audio
from bark_jax.training.prepare_tokens import check_tokenizer, prepare_tokens
from bark_jax.training.semantic_tokens import CLUSTERS, KMeansTokenizer, SemanticTokenizer
from bark_jax.training.shards import DataError
from bark_jax.training.transcripts import LeftOut, Recordings, Transcript, read_transcripts

REPORT = "report.jsonl"
SPEAKING = ("semantic", "coarse")  # the stages that learn semantic tokens
_SHARD = re.compile(r"(?:audio|tokens)-\d{5,}\.npy|\.partial-[0-9a-f]{16}\.\w+")
_FILES = {"manifest.json", "audio.jsonl", "tokens.jsonl", REPORT, CLUSTERS}


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """What to prepare, and where."""

    recordings: Path  # a folder
    transcripts: Path  # the table of what is said in them
    to: Path  # the folder of data
    model: Path  # a folder with config.json and, but for audio alone, codec.safetensors and a tokenizer of texts
    only_audio: bool = False  # which is what a codec learns from
    # For a model that has no clusters of its own: a KMeansTokenizer's file, "hubert" or a folder (see hearing.finding);
    # without any, clusters are fitted to the recordings.
    semantic_tokens: Path | str | None = None
    seed: int = 0  # of that fit
    overwrite: bool = False  # discard what the folder holds


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What a folder of data holds now."""

    manifest: Manifest
    made: tuple[str, ...]  # the steps that were run: "audio", "tokens"
    report: tuple[LeftOut, ...]  # what cannot be used, and why
    columns: str | None  # how those of the table were read, if it does not name them

    @property
    def left_out(self) -> int:
        """Lines of the report."""
        return len(self.report)


@dataclass(frozen=True, kw_only=True)
class _Ingredients:
    """What tokens are made with."""

    source: str  # hash of all but the tokenizer of recordings
    codec: str  # SHA-256 of the codec's file
    tokenizer: SemanticTokenizer | None  # the model's own, or one that was given
    clusters: str  # as in TokenManifest


def prepare(job: Preparation, progress: StepProgress = lambda step, done, total: None) -> Prepared:
    """Make a folder of data, or what it lacks. progress is called with (step, done, in all).

    Raises DataError for recordings, a table or a tokenizer that cannot be used, for data that were made from something
    else (unless overwrite is set), and when a file cannot be written; CheckpointError and TextError for the model's.
    """
    config = read_config(job.model)
    ingredients = None if job.only_audio else _ingredients(job, config)
    recordings = Recordings(job.recordings)
    transcripts, unusable, columns = read_transcripts(job.transcripts, recordings)
    source = _audio_source(job, config, transcripts)
    made = []
    try:
        manifest = _kept(job, source)
        if manifest is None:
            manifest = _make_audio(job, config, recordings, transcripts, unusable, source, progress)
            made.append("audio")
        if ingredients is not None and not _has_tokens(job.to, manifest, ingredients):
            manifest = _make_tokens(job, config, manifest, ingredients, progress)
            made.append("tokens")
        report = tuple(_read_report(job.to))
        return Prepared(manifest=manifest, made=tuple(made), report=report, columns=columns)
    except OSError as error:
        raise DataError(f"cannot write {job.to}: {error}") from error


def _ingredients(job: Preparation, config: BarkConfig) -> _Ingredients:
    """What the second step needs: complaints are due before the first."""
    file = job.model / "codec.safetensors"
    if not file.is_file():
        raise DataError(f"{job.model} has no codec yet: prepare with --only-audio, and train the codec with that")
    texts, codec = load_tokenizer(job.model), _hash_file(file)
    tokenizer = _tokenizer(job, config)
    limits = [config.semantic.max_new, config.semantic.max_text]
    source = _hash_values([codec, texts.to_str(), expected_numbers(config), limits])
    clusters = "given" if tokenizer else f"seed {job.seed}"
    return _Ingredients(source=source, codec=codec, tokenizer=tokenizer, clusters=clusters)


def _tokenizer(job: Preparation, config: BarkConfig) -> SemanticTokenizer | None:
    """The model's own, else the one that is given. Raises DataError when those differ."""
    files = [file for file in (job.semantic_tokens, own_clusters(job.model)) if file is not None]
    tokenizers = [find_hubert(file) if is_hubert(file) else KMeansTokenizer.load(file) for file in files]
    for tokenizer in tokenizers:
        check_tokenizer(tokenizer, config)
    if len({tokenizer.fingerprint for tokenizer in tokenizers}) > 1:
        raise DataError(
            f"{files[0]} makes other semantic tokens than {files[1]}, which {job.model} speaks: leave out "
            "--semantic-tokens, or prepare for another model"
        )
    return tokenizers[-1] if tokenizers else None


def own_clusters(model: Path) -> Path | None:
    """The file of the semantic tokens that a model speaks, if it has one."""
    return file if (file := model / CLUSTERS).is_file() else None


def has_learned_tokens(model: Path) -> list[str]:
    """The networks in a model's folder that have learned semantic tokens."""
    return [network for network in SPEAKING if (model / f"{network}.safetensors").exists()]


def _audio_source(job: Preparation, config: BarkConfig, transcripts: Sequence[Transcript]) -> str:
    """A hash that changes with the table, the recordings it names and the sample rate."""
    stats = [_stat(job.recordings / row.file) for row in transcripts]
    return _hash_values([config.codec.sample_rate, _hash_file(job.transcripts), stats])


def _stat(path: Path) -> list[int]:
    """Size and time of a file, nothing if there is none."""
    try:
        stat = path.stat()
    except (OSError, ValueError):  # the latter for names that no file can have
        return []
    return [stat.st_size, stat.st_mtime_ns]


def _hash_file(path: Path) -> str:
    try:
        return sha256(path)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error}") from error


def _hash_values(values: list[Any]) -> str:
    return hashlib.sha256(json.dumps([VERSION, values]).encode()).hexdigest()


def _kept(job: Preparation, source: str) -> Manifest | None:
    """What the folder holds already, if it was made from the same sources; else it is emptied."""
    if (job.to / "manifest.json").exists() and not job.overwrite:
        manifest = read_manifest(job.to)
        if manifest.audio.source != source:
            raise DataError(
                f"{job.to} was made from other recordings or transcripts, or at another sample rate: choose another "
                "folder, or --overwrite it"
            )
        return manifest
    if job.to.exists():
        foreign = [
            path.name for path in job.to.iterdir() if path.name not in _FILES and not _SHARD.fullmatch(path.name)
        ]
        if foreign:
            raise DataError(f"{job.to} holds other things, such as {foreign[0]}: choose a folder of its own for data")
    job.to.mkdir(parents=True, exist_ok=True)
    _remove(job.to, ["manifest.json", *_FILES], "")
    return None


def _remove(folder: Path, files: Sequence[str], kind: str) -> None:
    """Delete files of data in this order, then the shards of a kind ("": of both)."""
    for name in files:
        (folder / name).unlink(missing_ok=True)
    for path in folder.iterdir():
        if path.name.startswith((kind, ".")) and _SHARD.fullmatch(path.name):
            path.unlink()


def _make_audio(
    job: Preparation, config: BarkConfig, recordings: Recordings, transcripts: Sequence[Transcript],
    unusable: Sequence[LeftOut], source: str, progress: StepProgress,
) -> Manifest:  # fmt: skip
    audio, left_out = prepare_audio(
        recordings, transcripts, unusable, job.to,
        sample_rate=config.codec.sample_rate, source=source, progress=progress,
    )  # fmt: skip
    _write_report(job.to, left_out)
    _require_clips(job.to, audio.clips, left_out)
    manifest = Manifest(audio=audio)
    write_manifest(job.to, manifest)
    return manifest


def _has_tokens(to: Path, manifest: Manifest, ingredients: _Ingredients) -> bool:
    if manifest.tokens is None:
        return False
    tokenizer, made = ingredients.tokenizer, manifest.tokens
    same = made.semantic_tokens == tokenizer.fingerprint if tokenizer else made.clusters == ingredients.clusters
    if not same or made.source != ingredients.source:
        raise DataError(
            f"the tokens in {to} were made with another codec, tokenizer or config: choose another folder, or "
            "--overwrite it"
        )
    return True


def _make_tokens(
    job: Preparation, config: BarkConfig, manifest: Manifest, ingredients: _Ingredients, progress: StepProgress
) -> Manifest:
    _remove(job.to, ["tokens.jsonl", CLUSTERS], "tokens")  # of a run that was cut short
    tokenizer = ingredients.tokenizer
    if tokenizer is None:
        tokenizer = KMeansTokenizer.fit(
            open_audio(job.to, config), config.codec.sample_rate, config.semantic.vocab, config.semantic.rate_hz,
            job.seed, lambda done, total: progress("clusters", done, total),
        )  # fmt: skip
    if isinstance(tokenizer, KMeansTokenizer):
        tokenizer.save(job.to / CLUSTERS)
    tokens, left_out = prepare_tokens(
        job.to,
        job.model,
        config,
        tokenizer,
        source=ingredients.source,
        codec=ingredients.codec,
        clusters=ingredients.clusters,
        progress=progress,
    )
    _write_report(job.to, [*(line for line in _read_report(job.to) if line.step == "audio"), *left_out])
    _require_clips(job.to, tokens.clips, left_out)
    manifest = dataclasses.replace(manifest, tokens=tokens)
    write_manifest(job.to, manifest)
    return manifest


def _write_report(to: Path, left_out: Sequence[LeftOut]) -> None:
    with replacing(to / REPORT) as temporary:
        lines = [json.dumps(dataclasses.asdict(line)) + "\n" for line in left_out]
        temporary.write_text("".join(lines), encoding="utf-8")


def _read_report(to: Path) -> list[LeftOut]:
    try:
        lines = (to / REPORT).read_text(encoding="utf-8").splitlines()
        return [LeftOut(**json.loads(line)) for line in lines]
    except (OSError, ValueError, TypeError):  # it is for people, who may have edited it
        return []


def _require_clips(to: Path, clips: int, left_out: Sequence[LeftOut]) -> None:
    """Raise DataError if all there was has been left out."""
    if clips:
        return
    if not left_out:
        raise DataError("nothing can be used: the table of transcripts is empty")
    first = left_out[0]
    line = [] if first.line is None else [f"line {first.line} of the table"]
    where = ", ".join([*line, *filter(None, [first.file])])
    raise DataError(
        f"nothing can be used; the first of {len(left_out)} problems in {to / REPORT} is {where}: {first.reason}"
    )
