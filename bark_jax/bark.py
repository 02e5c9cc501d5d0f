"""Bark: text → semantic tokens → coarse codes → fine codes → waveform."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack, overload

import numpy as np

from bark_jax.audio import check_waveform
from bark_jax.frontend import VoiceSource
from bark_jax.generation import Generation, warn_if_empty
from bark_jax.hearing.clips import time_clips
from bark_jax.inputs import TokenError, check_tokens, naming_item, per_item
from bark_jax.model import Model
from bark_jax.settings import Overrides, Settings
from bark_jax.speech.cleaning import clean as clean_text
from bark_jax.speech.delivery import Delivery, SpeakOverrides
from bark_jax.speech.labels import warn_of_marks
from bark_jax.speech.marks import check_spoken
from bark_jax.speech.planning import cut_text, find_speakers, plan
from bark_jax.speech.ranking import Ranked, best_of
from bark_jax.speech.script import Script
from bark_jax.speech.speaking import join_again, respeak, start_stream
from bark_jax.speech.speech import Speech
from bark_jax.speech.streaming import Stream
from bark_jax.stages.hooks import ForStages, Sampler, hooks_by_stage
from bark_jax.stages.progress import Progress, StageProgress
from bark_jax.text import warn_of


class Bark(Model):
    """A Bark model: four networks, a tokenizer, its voices and default settings.

    The stages are methods of their own, with NumPy arrays in and out. Each takes the seed of the whole generation and
    derives its own randomness from it: run one after another with the seed of `generate`, they are `generate`.
    """

    @overload
    def generate(
        self, text: str, voice: VoiceSource = None, *, seed: int | None = None, settings: Settings | None = None,
        clean: bool = False, logits_processors: ForStages | None = None,
        sampler: Sampler | Mapping[str, Sampler] | None = None, outputs: Collection[str] = (), word_times: bool = False,
        trim_tail: bool = False, progress: StageProgress | None = None, **overrides: Unpack[Overrides],
    ) -> Generation: ...  # fmt: skip

    @overload
    def generate(
        self, text: list[str] | tuple[str, ...], voice: VoiceSource | Sequence[VoiceSource] = None, *,
        seed: int | Sequence[int | None] | None = None, settings: Settings | Sequence[Settings | None] | None = None,
        clean: bool = False, logits_processors: ForStages | None = None,
        sampler: Sampler | Mapping[str, Sampler] | None = None, outputs: Collection[str] = (), word_times: bool = False,
        trim_tail: bool = False, progress: StageProgress | None = None, **overrides: Unpack[Overrides],
    ) -> list[Generation]: ...  # fmt: skip

    def generate(
        self,
        text: str | list[str] | tuple[str, ...],
        voice: VoiceSource | Sequence[VoiceSource] = None,
        *,
        seed: int | Sequence[int | None] | None = None,
        settings: Settings | Sequence[Settings | None] | None = None,
        clean: bool = False,
        logits_processors: ForStages | None = None,
        sampler: Sampler | Mapping[str, Sampler] | None = None,
        outputs: Collection[str] = (),
        word_times: bool = False,
        trim_tail: bool = False,
        progress: StageProgress | None = None,
        **overrides: Unpack[Overrides],
    ) -> Generation | list[Generation]:
        """Speak a text of one clip (about 15 seconds in the published models), or a batch of them.

        voice: a Voice, a Generation, a dict of the three arrays, the output of transformers' processor, a file, or the
        name of one (`v2/en_speaker_6`); by default the model's default voice, if it has one, and "none" for none. seed,
        0 … 2³² − 1: the same one gives the same audio; by default, and for −1, a fresh one, kept in the result.
        settings: how to sample (default: the checkpoint's); overrides: single fields of it, such as
        `semantic_temperature=0.5`. clean: turn Markdown, typography and emoji into what can be read out, see
        `speech.cleaning`. progress: called as each stage advances.

        A list of texts gives a list of clips, made side by side. Voice, seed and settings are then one for all, or a
        list or tuple with one for each; overrides are for all. Every clip is, token for token, what it would be alone
        (in float32 on CPU; elsewhere rounding may depend on the batch). A batch takes as long as its longest clip, and
        every new batch size compiles its own programs, as do a clip's first voice and new filters: see `warm_up`.

        logits_processors, sampler: functions that change logits and choose tokens, for the semantic and coarse stages
        or in a mapping by stage, compiled into the programs: see `bark_jax.stages.hooks`, and `stages.processors` for
        examples. outputs: what to keep of every step in `Generation.outputs`: "log_probabilities" of the tokens, by
        the model's own logits; "hidden", the states that the head reads; "attention", float32 [..., layers, heads,
        slots], which is large. word_times: fill `Generation.words` and `tail_seconds` (see `hearing.timing`), by one
        more pass of the semantic network; trim_tail: also cut off what comes after the text.

        Raises TextError, VoiceError, SettingsError, and ValueError for lists of another length; warns with
        TextTruncated and EmptyGeneration, and with TextWarning of marks that only `speak` obeys and of what the model
        does not know.
        """
        texts = list(text) if isinstance(text, list | tuple) else [text]
        texts = [clean_text(item) for item in texts] if clean else texts
        given = {"voice": voice, "seed": seed, "settings": settings}
        choices = zip(*(per_item(name, value, len(texts)) for name, value in given.items()), strict=True)
        readings, options = [], []
        for index, (item, choice) in enumerate(zip(texts, choices, strict=True)):
            with naming_item(index, len(texts)):
                readings.append(self.frontend.reader.read(item))
                options.append(self.frontend.options(*choice, **overrides))
        warn_of(readings, stacklevel=3)
        warn_of_marks(texts, stacklevel=3)
        ids, hooks = [reading.ids for reading in readings], hooks_by_stage(logits_processors, sampler, outputs)
        results = self.engine.generate_clips(texts, ids, options, progress, hooks) if texts else []
        if word_times or trim_tail:
            originals = list(text) if isinstance(text, list | tuple) else [text]
            results = time_clips(self.engine, self.frontend, originals, results, options, trim_tail=trim_tail)
        for result in results:
            warn_if_empty(result.semantic, f"the clip (seed {result.seed})", stacklevel=2)
        return results if isinstance(text, list | tuple) else results[0]

    def cut(
        self,
        text: str,
        voice: VoiceSource = None,
        *,
        voices: Mapping[str, VoiceSource] | None = None,
        **delivery: Any,
    ) -> Script:
        """The pieces that `speak` makes of a text (see `bark_jax.speech.script`), which takes them in its place.

        Voices and fields of `Delivery` are those that `speak` is given. Raises TextError, VoiceError, SettingsError;
        warns as `speak` does of what is in the text.
        """
        cast = {None: self.frontend.find_voice(voice), **find_speakers(self.frontend, voices or {})}
        return cut_text(self.frontend, text, cast, Delivery(**delivery))

    def speak(
        self,
        text: str | Script,
        voice: VoiceSource = None,
        *,
        voices: Mapping[str, VoiceSource] | None = None,
        seed: int | None = None,
        settings: Settings | None = None,
        report: str | Path | None = None,
        pieces: str | Path | None = None,
        word_times: bool = False,
        trim_tail: bool = False,
        progress: StageProgress | None = None,
        **overrides: Unpack[SpeakOverrides],
    ) -> Speech:
        """Speak a text of any length: cut into pieces, each a clip, which are joined with pauses.

        text: or the result of `cut`. voice: that of the text; without one, that of its first piece is carried
        on. voices: those of speakers, whose lines begin with "NAME: "; None for one who keeps that of their own
        first piece. seed: of which every piece's seed is derived. settings: of all pieces. overrides: fields of
        `Settings`, such as `semantic_temperature=0.5`, and of `Delivery`, such as `keep_voice="rolling"`,
        `language="de"`, `batch_size=8`, `best_of=4`. progress: as in `generate`, for every batch, and with
        ("pieces", done, all). word_times: fill `Speech.words` and `tails`, see `time_words`; trim_tail: also cut off
        what comes after the text of a piece.

        report: a file that is written as `Speech.save_report` does, whenever a piece is done. If it is there already,
        its pieces are not spoken again: an interrupted call continues when it is repeated, with the seed of the report,
        and the result is the same. pieces: a folder for the audio of every piece, see `Speech.save_pieces`.

        Raises TextError, VoiceError, SettingsError, AudioError for the folder, and SpeechError for a report that cannot
        be written or is of another text, voice, seed or settings; warns with EmptyGeneration of a piece without a
        sound.
        """
        job = plan(
            self.frontend, text, voice, voices or {}, seed, settings, overrides, report, pieces, self.engine.name
        )
        stream = start_stream(self.engine, job, progress, ahead=0)
        speech = stream.speech(list(stream))
        if not (word_times or trim_tail):
            return speech
        return self.time_words(speech, text if isinstance(text, str) else None, trim_tail=trim_tail)

    def stream(
        self,
        text: str | Script,
        voice: VoiceSource = None,
        *,
        voices: Mapping[str, VoiceSource] | None = None,
        seed: int | None = None,
        settings: Settings | None = None,
        report: str | Path | None = None,
        pieces: str | Path | None = None,
        progress: StageProgress | None = None,
        **overrides: Unpack[SpeakOverrides],
    ) -> Stream:
        """`speak`, heard while it is made: `for chunk in bark.stream(text)`, each float32 of about a second.

        A thread works ahead, and calls `progress`. Together the chunks are the waveform of `speak`. Bad input raises at
        once; an error in the work, when the iteration gets there.
        """
        job = plan(
            self.frontend, text, voice, voices or {}, seed, settings, overrides, report, pieces, self.engine.name
        )
        return start_stream(self.engine, job, progress)

    def respeak(
        self,
        speech: Speech | str | Path,
        piece: int,
        *,
        text: str | None = None,
        clean: bool = True,
        seed: int | None = None,
        settings: Settings | None = None,
        progress: StageProgress | None = None,
        **overrides: Unpack[Overrides],
    ) -> Speech:
        """A speech, or one in a file of `Speech.save_report`, with one piece, counted from 0, spoken again.

        By default with its voice, settings and text, and the seed of its next take. Another text is cleaned as `speak`
        does, unless clean=False, and is one piece: marks in it are not obeyed. All other pieces stay as they are, even
        those that had this one for a voice. Raises SpeechError, TextError, SettingsError; warns as `generate` does.
        """
        if text is not None:
            text = clean_text(text) if clean else text
            check_spoken(text)
            warn_of_marks([text], stacklevel=3)
        speech = speech if isinstance(speech, Speech) else Speech.load_report(speech, self.config)
        return respeak(self.engine, self.frontend, speech, piece, text, seed, settings, overrides, progress)

    def load_speech(self, path: str | Path) -> Speech:
        """The speech in a file of `Speech.save_report`, its audio decoded again. Raises SpeechError."""
        speech = Speech.load_report(path, self.config)
        return join_again(self.engine, speech, speech.pieces)

    def best_of(
        self,
        text: str,
        n: int = 4,
        voice: VoiceSource = None,
        *,
        seed: int | None = None,
        keep_all: bool = False,
        settings: Settings | None = None,
        progress: StageProgress | None = None,
        **overrides: Unpack[Overrides],
    ) -> Ranked:
        """Speak a text n times, and rank the takes by the score of `bark_jax.speech.ranking`.

        Each take has its own seed, derived from `seed`. keep_all: return all takes, not only the best. Otherwise as
        `generate`.
        """
        options = self.frontend.options(voice, seed, settings, **overrides)
        warn_of_marks([text], stacklevel=3)
        return best_of(self.engine, text, self.frontend.encode(text), options, n, keep_all, progress)

    def text_to_semantic(
        self,
        text: str,
        *,
        voice: VoiceSource = None,
        seed: int = 0,
        settings: Settings | None = None,
        progress: Progress | None = None,
        **overrides: Unpack[Overrides],
    ) -> np.ndarray:
        """Text → semantic tokens, int32 [N], 0 ≤ N ≤ `max_new`. Options, errors and warnings as of `generate`."""
        ids = self.frontend.encode(text)
        warn_of_marks([text], stacklevel=3)
        options = self.frontend.options(voice, seed, settings, **overrides)
        tokens = self.engine.run("semantic", [ids], [options], progress)[0]
        warn_if_empty(tokens, f"the clip (seed {options.seed})", stacklevel=2)
        return tokens

    def semantic_to_coarse(
        self,
        semantic: np.ndarray,
        *,
        voice: VoiceSource = None,
        seed: int = 0,
        settings: Settings | None = None,
        progress: Progress | None = None,
        **overrides: Unpack[Overrides],
    ) -> np.ndarray:
        """Semantic tokens, int [N] → the first two codebooks, int32 [2, T]. Raises TokenError."""
        semantic = check_tokens(semantic, "semantic tokens", (None,), self.config.semantic.vocab)
        return self.engine.run(
            "coarse", [semantic], [self.frontend.options(voice, seed, settings, **overrides)], progress
        )[0]

    def coarse_to_fine(
        self,
        coarse: np.ndarray,
        *,
        voice: VoiceSource = None,
        seed: int = 0,
        settings: Settings | None = None,
        progress: Progress | None = None,
        **overrides: Unpack[Overrides],
    ) -> np.ndarray:
        """The first codebooks, int [G, T] with 1 ≤ G < K → all, int32 [K, T]. Raises TokenError.

        The coarse stage makes two; the others may come from anywhere.
        """
        codec = self.config.codec
        coarse = check_tokens(coarse, "coarse codes", (None, None), codec.codebook_size)
        if not 1 <= len(coarse) < codec.codebooks:
            raise TokenError(f"coarse codes must have 1 … {codec.codebooks - 1} codebooks, not {len(coarse)}")
        return self.engine.run("fine", [coarse], [self.frontend.options(voice, seed, settings, **overrides)], progress)[
            0
        ]

    def decode(self, codes: np.ndarray, *, progress: Progress | None = None) -> np.ndarray:
        """The first or all codebooks' codes, int [≤ K, T] → waveform, float32 [T · hop], −1 … 1. Raises TokenError."""
        codec = self.config.codec
        codes = check_tokens(codes, "codes", (None, None), codec.codebook_size)
        if not 1 <= len(codes) <= codec.codebooks:
            raise TokenError(f"codes must have 1 … {codec.codebooks} codebooks, not {len(codes)}")
        return self.engine.decode(codes, progress)

    def encode(self, waveform: np.ndarray) -> np.ndarray:
        """Mono waveform → codes, int32 [K, ⌈N / hop⌉].

        waveform: float [N] at the codec's sample rate, −1 … 1, as from `audio.read_audio`. Raises AudioError.
        """
        return self.engine.encode(check_waveform(waveform))
