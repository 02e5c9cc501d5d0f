"""`bark-jax voices`: what voices there are, what they are like, whether they are sound, and keeping more of them."""

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from bark_jax import checkpoint
from bark_jax.cli.console import note, print_json, print_table
from bark_jax.config import RANDOM, BarkConfig
from bark_jax.loading import resolve
from bark_jax.voices.errors import VoiceError
from bark_jax.voices.library import VoiceEntry, catalogue, library_folder, locate, save_voice
from bark_jax.voices.metadata import VoiceMetadata
from bark_jax.voices.voice import Voice, find_problems


def add_options(parser: argparse.ArgumentParser) -> None:
    """The actions, each with its options; without one, those of `list`."""
    actions = parser.add_subparsers(metavar="ACTION")
    _add_list(parser)

    def action(name: str, help: str) -> argparse.ArgumentParser:
        # What an action is not told must not replace what `bark-jax voices` was told before it.
        return actions.add_parser(name, help=help, argument_default=argparse.SUPPRESS)

    _add_list(action("list", "the voices there are (the default)"))
    _add_show(action("show", "what is known of a voice"))
    _add_check(action("check", "everything that is wrong with files of voices"))
    _add_save(action("save", "keep a voice in the library under a name"))


def _add_model(parser: argparse.ArgumentParser, help: str) -> None:
    parser.add_argument("--model", help=help)


def _add_list(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        f"Names for --voice. Your library is {library_folder()}. "
        "Voices that are only published are there when the model brings them."
    )
    parser.set_defaults(run=_list)
    _add_model(parser, "those that this model knows, its own and the library's, instead of all names")
    parser.add_argument("--language", metavar="TAG", help="only those of this language, such as de")
    parser.add_argument("--json", action="store_true", help="print them as JSON")


def _list(options: argparse.Namespace) -> None:
    _, folder = _sizes_and_voices(options.model)
    entries = catalogue(folder, published=options.model is None)
    if options.model is not None and not any(entry.source == "model" for entry in entries):
        note(f"no voices came with {options.model}")
    if options.language is not None:
        entries = [entry for entry in entries if _speaks(entry.metadata.language, options.language)]
        if not entries:
            note(f"no voice is known to speak {options.language}")
    if options.json:
        print_json([_as_json(entry) for entry in entries])
    else:
        print_table([_row(entry) for entry in entries])


def _speaks(language: str | None, wanted: str) -> bool:
    """Whether a tag is that language, or a kind of it: pt-BR is pt."""
    return language is not None and f"{language}-".lower().startswith(f"{wanted}-".lower())


def _row(entry: VoiceEntry) -> list[str]:
    about = entry.metadata.description or ""
    return [entry.name, entry.metadata.language or "-", entry.source, entry.problem or about]


def _as_json(entry: VoiceEntry) -> dict[str, Any]:
    return {
        "name": entry.name, "source": entry.source, "path": entry.path and str(entry.path),
        "language": entry.metadata.language, "description": entry.metadata.description, "problem": entry.problem,
    }  # fmt: skip


def _add_show(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_show)
    parser.add_argument("voice", help="a name, an .npz file, or what three .npy files begin with")
    _add_model(parser, "look among this model's voices too, and compare with it instead of the published models")
    parser.add_argument("--json", action="store_true", help="print it as JSON")


def _show(options: argparse.Namespace) -> None:
    config, folder = _sizes_and_voices(options.model)
    found = locate(options.voice, folder)
    facts = {"name": found.name, "source": found.source, "path": str(found.path), **_facts(found.path, config)}
    if options.json:
        print_json(facts)
    else:
        facts["problems"] = "; ".join(facts["problems"]) or "none"
        print_table([[key.replace("_", " "), str(value)] for key, value in facts.items()])


def _facts(path: Path, config: BarkConfig) -> dict[str, Any]:
    """What there is to know about a voice. Raises VoiceError if it is none, whatever the model."""
    voice = Voice.load(path)
    tokens, frames = len(voice.semantic), voice.fine.shape[1]
    return {
        **voice.metadata.known(),
        "seconds": round(frames / config.codec.frame_rate_hz, 2),
        "semantic_tokens": tokens,
        "frames": frames,
        "codebooks": f"{len(voice.coarse)} coarse, {len(voice.fine)} fine",
        "frames_per_token": round(frames / tokens, 3),
        "problems": find_problems(path, config),
    }


def _add_check(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_check)
    parser.add_argument("voices", nargs="+", metavar="VOICE", help="a file or a name, as for show")
    _add_model(parser, "compare with this model instead of the published ones")


def _check(options: argparse.Namespace) -> None:
    config, folder = _sizes_and_voices(options.model)
    bad = 0
    for spec in options.voices:
        problems = _problems(spec, folder, config)
        print(*([f"{spec}:", *problems] if problems else [f"{spec}: good"]), sep="\n  ")
        bad += bool(problems)
    if bad:
        raise VoiceError(f"not usable: {bad} of {len(options.voices)}")


def _problems(spec: str, folder: Path | None, config: BarkConfig) -> list[str]:
    try:
        return find_problems(locate(spec, folder).path, config)
    except VoiceError as error:
        return [str(error)]


def _add_save(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_save)
    parser.add_argument("voice", help="a file or a name, as for show")
    parser.add_argument("name", help="what to call it in the library; or the path of an .npz file")
    parser.add_argument("--language", metavar="TAG", default=None, help="what it speaks, such as de or pt-BR")
    parser.add_argument("--description", metavar="TEXT", default=None, help="what it is like")
    parser.add_argument("--force", action="store_true", default=False, help="replace a voice of that name")
    _add_model(parser, "look among this model's voices too, and compare with it instead of the published models")


def _save(options: argparse.Namespace) -> None:
    config, folder = _sizes_and_voices(options.model)
    voice = locate(options.voice, folder).load(config)
    told = VoiceMetadata(language=options.language, description=options.description).known()
    voice = dataclasses.replace(voice, metadata=dataclasses.replace(voice.metadata, **told))
    note(f"{options.name} is in {save_voice(voice, options.name, overwrite=options.force)}")


def _sizes_and_voices(model: str | None) -> tuple[BarkConfig, Path | None]:
    """A model's config and folder of voices: without a model, the published sizes and no folder."""
    if model is None:
        return BarkConfig.small(), None
    if model.startswith(RANDOM):
        return BarkConfig.preset(model.removeprefix(RANDOM)), None
    folder = resolve(model)
    return checkpoint.read_config(folder), folder / "voices"
