"""What `bark-jax say` reports of a clip: in two lines, in full, or as JSON."""

import dataclasses
import importlib.metadata
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bark_jax import compile_cache, kernels
from bark_jax.bark import Bark
from bark_jax.generation import Generation
from bark_jax.hearing.word_files import words_json
from bark_jax.measuring import machine, peak_memory
from bark_jax.models.parameters import held_dtype
from bark_jax.quoting import count_of
from bark_jax.settings import Settings
from bark_jax.speech.speech import Speech
from bark_jax.voices.voice import Voice


@dataclass(frozen=True, kw_only=True)
class Run:
    """A clip, what it was made with, and the files that were written."""

    model: str
    bark: Bark
    loaded: float  # seconds that loading took
    programs: Sequence[float]  # seconds that each compilation took, or reading it from the cache
    voice: Voice | None
    settings: Settings
    result: Generation | Speech
    files: Mapping[str, Path]  # by what they are: path (of the audio), figure, saved_voice, srt, vtt, report, pieces


def summarize(run: Run) -> str:
    """Times and speeds in a line, and a line for each file."""
    speeds = [
        f"{stage} {seconds:.1f} s ({speed:.0f} tokens/s)" for stage, (seconds, speed) in _speeds(run.result).items()
    ]
    return f"model loaded in {run.loaded:.1f} s, {', '.join(speeds)}, compilation included\n{_files(run)}"


def describe_setup(bark: Bark) -> str:
    """What computes, in which type, and where compiled programs are kept: known before the clip is made."""
    facts = machine()
    return _rows(
        {
            "device": facts.get("device", facts["backend"]),
            "host": facts["host"],
            "dtype": _dtype(bark),
            **({"decoding on": kernels.description()} if facts["backend"] == "cpu" else {}),
            "compile cache": str(compile_cache.current_folder() or "none"),
            "versions": ", ".join(f"{name} {version}" for name, version in _versions().items()),
        }
    )


def describe(run: Run) -> str:
    """A line for each stage, for compilation, memory, settings and each file."""
    peaks = [f"{size / 1e9:.2f} GB ({place})" for place, size in peak_memory().items()]
    settings = {name: value for name, value in dataclasses.asdict(run.settings).items() if value is not None}
    rows = {
        "loading": f"{run.loaded:6.2f} s",
        **{stage: f"{seconds:6.2f} s {speed:7.0f} tokens/s" for stage, (seconds, speed) in _speeds(run.result).items()},
        "compilation": f"{sum(run.programs):6.2f} s of the stages', for {len(run.programs)} programs (or to load them)",
        "peak memory": ", ".join(peaks) or "unknown",
        "settings": ", ".join(f"{name} {value}" for name, value in settings.items()),
    }
    return f"{_rows(rows)}\n{_files(run)}"


def as_json(run: Run) -> dict[str, Any]:
    """Everything, for programs; None for files that were not asked for, and for what an empty clip lacks."""
    result, facts = run.result, machine()
    factor = result.real_time_factor
    files = ("path", "figure", "saved_voice", "srt", "vtt", "report", "pieces")
    return {
        **{what: str(run.files[what]) if what in run.files else None for what in files},
        "text": result.text,
        "seconds": result.seconds,
        "seed": int(result.seed),
        "model": run.model,
        "voice": run.voice.name if run.voice else None,
        "settings": dataclasses.asdict(run.settings),
        "load_seconds": run.loaded,
        "timings": dict(result.timings),
        "real_time_factor": factor if math.isfinite(factor) else None,
        "programs": len(run.programs),
        "compile_seconds": sum(run.programs),
        "peak_memory_bytes": peak_memory(),
        "dtype": _dtype(run.bark),
        "device": facts.get("device", facts["backend"]),
        "versions": _versions(),
        **_describe_speech(result),
        **({} if result.words is None else {"words": words_json(result.words)}),
    }


def _describe_speech(result: Generation | Speech) -> dict[str, Any]:
    if not isinstance(result, Speech):
        return {}
    first = result.time_to_first_audio
    return {"seconds_to_first_audio": first, "speech": result.report()["pieces"]}


def _files(run: Run) -> str:
    result, others = run.result, dict(run.files)
    path = others.pop("path", None)
    facts = [
        f"{result.seconds:.2f} s of audio",
        f"real-time factor {result.real_time_factor:.2f}",
        f"seed {result.seed}",
    ]
    if isinstance(result, Speech):
        facts.append(
            f"{count_of(len(result.pieces), 'piece')}, the first audio after {result.time_to_first_audio or 0:.1f} s"
        )
    return "\n".join([f"{path or 'played'}: {', '.join(facts)}", *(f"{path}" for path in others.values())])


def _speeds(result: Generation | Speech) -> dict[str, tuple[float, float]]:
    """Seconds and tokens per second of each stage."""
    tokens = result.tokens._asdict()
    tokens["codec"] = tokens["fine"]
    return {
        stage: (seconds, tokens[stage].size / seconds) for stage, seconds in result.timings.items() if stage in tokens
    }


def _dtype(bark: Bark) -> str:
    return str(held_dtype(bark.semantic))


def _versions() -> dict[str, str]:
    """Of this package, if it is installed, and of those that decide on numbers and speed."""
    facts = machine()
    try:
        ours = {"bark-jax": importlib.metadata.version("bark-jax")}
    except importlib.metadata.PackageNotFoundError:  # a checkout
        ours = {}
    return ours | {name: facts[name] for name in ("python", "jax", "jaxlib", "flax", "numpy")}


def _rows(facts: Mapping[str, str]) -> str:
    return "\n".join(f"{name:13}  {value}" for name, value in facts.items())
