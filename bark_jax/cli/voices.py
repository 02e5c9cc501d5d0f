"""`bark-jax voices`: list, show, check, save, repair and delete voices; `voice_create` makes them."""

import argparse
import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bark_jax.checkpoint import is_checkpoint
from bark_jax.cli.console import note, print_json, print_table
from bark_jax.cli.models import DEFAULT_MODEL, Model, find_model
from bark_jax.cli.voice_create import add_create
from bark_jax.config import RANDOM, BarkConfig
from bark_jax.errors import ModelError
from bark_jax.layouts import NANO
from bark_jax.voices.errors import VoiceError
from bark_jax.voices.library import (
    PUBLISHED_MODELS,
    Located,
    VoiceEntry,
    catalogue,
    default_name,
    delete_voice,
    library_folder,
    locate,
    save_voice,
    voice_file,
)
from bark_jax.voices.metadata import VoiceMetadata
from bark_jax.voices.reading import read_metadata, read_voice_file
from bark_jax.voices.repair import repair_voice
from bark_jax.voices.voice import Voice, inspect_file

_WITH_MODEL = "look among this model's voices too, and compare with it; by default with the model that the file names"


def add_options(parser: argparse.ArgumentParser) -> None:
    """The actions, each with its options; without one, those of `list`."""
    actions = parser.add_subparsers(metavar="ACTION")
    _add_list(parser)

    def action(name: str, help: str) -> argparse.ArgumentParser:
        # The default of an action's option must not replace what was given to `bark-jax voices` before it.
        return actions.add_parser(name, help=help, argument_default=argparse.SUPPRESS)

    _add_list(action("list", "the voices there are (the default)"))
    _add_show(action("show", "what is known of a voice"))
    _add_check(action("check", "everything that is wrong with files of voices"))
    add_create(action("create", "make a voice of a recording"))
    _add_save(action("save", "keep a voice in the library under a name"))
    _add_repair(action("repair", "cut a voice to the longest end whose arrays belong together"))
    _add_delete(action("delete", "delete a voice of the library"))


def _add_model(parser: argparse.ArgumentParser, help: str = _WITH_MODEL) -> None:
    parser.add_argument("--model", help=help)


def _add_list(parser: argparse.ArgumentParser) -> None:
    parser.description = f"Names for --voice. Your library is {library_folder()}. The others come with models."
    parser.set_defaults(run=_list)
    _add_model(parser, "those that this model knows, its own and the library's, instead of all names")
    parser.add_argument("--language", metavar="TAG", help="only those of this language, such as de")
    parser.add_argument("--json", action="store_true", help="print them as JSON")


def _list(options: argparse.Namespace) -> None:
    folder = _folder(find_model(options.model) if options.model is not None else None)
    entries = catalogue(folder, published=options.model is None, builtin=options.model is None)
    if options.model is not None and not any(entry.source == "model" for entry in entries):
        note(f"no voices came with {options.model}")
    if options.language is not None:
        entries = [entry for entry in entries if _speaks(entry.metadata.language, options.language)]
        if not entries:
            note(f"no voice is known to speak {options.language}")
    default = default_name(folder) if folder else None
    if options.json:
        print_json([_as_json(entry, default) for entry in entries])
        return
    print_table([_row(entry, default) for entry in entries])
    if any(entry.path is None for entry in entries):
        note(f"those that are not here come with the published models: --model {DEFAULT_MODEL} (downloaded once)")


def _speaks(language: str | None, wanted: str) -> bool:
    """Whether a tag is that language, or a kind of it: pt-BR is pt."""
    return language is not None and f"{language}-".lower().startswith(f"{wanted}-".lower())


def _row(entry: VoiceEntry, default: str | None) -> list[str]:
    known = [entry.problem or entry.metadata.description, "the default" if _is_default(entry, default) else None]
    about = ", ".join(filter(None, known)) if entry.path else "not here"
    return [entry.name, entry.metadata.language or "-", entry.source, about]


def _is_default(entry: VoiceEntry, default: str | None) -> bool:
    return entry.source == "model" and entry.name == default


def _as_json(entry: VoiceEntry, default: str | None) -> dict[str, Any]:
    return {
        "name": entry.name, "source": entry.source, "here": entry.path is not None,
        "path": entry.path and str(entry.path), "default": _is_default(entry, default),
        "language": entry.metadata.language,
        "description": entry.metadata.description, "problem": entry.problem,
    }  # fmt: skip


def _add_show(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_show)
    parser.add_argument("voice", help="a name, an .npz file, or what three .npy files begin with")
    _add_model(parser)
    parser.add_argument("--json", action="store_true", help="print it as JSON")


def _show(options: argparse.Namespace) -> None:
    found, config = _find(options.voice, options.model)
    facts = {"name": found.name, "source": found.source, "path": str(found.path), **_facts(found.path, config)}
    if options.json:
        print_json(facts)
    else:
        facts["problems"] = "; ".join(facts["problems"]) or "none"
        print_table([[key.replace("_", " "), str(value)] for key, value in facts.items()])


def _facts(path: Path, config: BarkConfig) -> dict[str, Any]:
    """What there is to know about a voice. Raises VoiceError if no model could use it."""
    voice = Voice.load(path)
    tokens, frames = len(voice.semantic), voice.fine.shape[1]
    return {
        **voice.metadata.known(),
        "seconds": round(frames / config.codec.frame_rate_hz, 2),
        "semantic_tokens": tokens,
        "frames": frames,
        "codebooks": f"{len(voice.coarse)} coarse, {len(voice.fine)} fine",
        "frames_per_token": round(frames / tokens, 3),
        "problems": inspect_file(path, config).problems(config),
    }


def _add_check(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_check)
    parser.add_argument("voices", nargs="+", metavar="VOICE", help="a file or a name, as for show")
    _add_model(parser)


def _check(options: argparse.Namespace) -> None:
    bad = 0
    for spec in options.voices:
        try:
            found, config = _find(spec, options.model)
            received = inspect_file(found.path, config)
            problems, changes = received.problems(config), received.changes
        except VoiceError as error:
            problems, changes = [str(error)], []
        verdict = "" if problems else " good, with changes to" if changes else " good"
        print(f"{spec}:{verdict}", *problems, *changes, sep="\n  ")
        bad += bool(problems)
    if bad:
        raise VoiceError(f"not usable: {bad} of {len(options.voices)}")


def _add_save(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_save)
    parser.add_argument("voice", help="a file or a name, as for show")
    parser.add_argument("name", help="what to call it in the library; or the path of an .npz file")
    parser.add_argument("--language", metavar="TAG", default=None, help="what it speaks, such as de or pt-BR")
    parser.add_argument("--description", metavar="TEXT", default=None, help="what it is like")
    _add_force(parser)
    _add_model(parser)


def _add_force(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--force", action="store_true", default=False, help="replace a voice of that name")


def _save(options: argparse.Namespace) -> None:
    found, config = _find(options.voice, options.model)
    voice_file(options.name, overwrite=options.force, model=options.model)
    voice = found.load(config)
    given = VoiceMetadata(language=options.language, description=options.description).known()
    voice = dataclasses.replace(voice, metadata=dataclasses.replace(voice.metadata, **given))
    note(f"{options.name} is in {save_voice(voice, options.name, overwrite=options.force)}")


def _add_repair(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_repair)
    parser.add_argument("voice", metavar="FILE", help="a file or a name, as for show")
    parser.add_argument("out", metavar="OUT", nargs="?", default=None,
                        help="a file or a name in the library (default: FILE with -repaired at its end)")  # fmt: skip
    _add_force(parser)
    _add_model(parser)


def _repair(options: argparse.Namespace) -> None:
    found, config = _find(options.voice, options.model)
    out = options.out or _repaired(found)
    voice_file(out, overwrite=options.force, model=options.model)
    prompts, metadata = read_voice_file(found.path)
    make_fine = partial(_make_fine, options.model) if options.model is not None else None
    voice, changes = repair_voice(prompts, config, name=found.name, metadata=metadata, make_fine=make_fine)
    path = save_voice(voice, out, overwrite=options.force)
    note(f"{found.name}: {'; '.join(changes) or 'nothing to repair'}; saved in {path}")


def _make_fine(model: str, coarse: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    from bark_jax.bark import Bark  # imports JAX, for this one case

    return Bark.from_pretrained(model).make_fine(coarse)


def _repaired(found: Located) -> str:
    """Where a repaired voice is saved by default: beside a file, and in the library for a name."""
    return f"{found.path.with_suffix('')}-repaired.npz" if found.source == "file" else f"{found.name}-repaired"


def _add_delete(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_delete)
    parser.add_argument("name", help="of a voice of your library")


def _delete(options: argparse.Namespace) -> None:
    note(f"deleted {delete_voice(options.name)}")


def _find(spec: str, model: str | None) -> tuple[Located, BarkConfig]:
    """Where a voice is, and the sizes of the model to compare it with. Raises VoiceError and ModelError."""
    chosen = find_model(model) if model is not None else None
    found = locate(spec, _folder(chosen), builtin=model is None)
    if chosen is not None:
        return found, chosen.config
    return found, _recorded_config(found)


def _folder(model: Model | None) -> Path | None:
    return model.voice_folder if model else None


def _recorded_config(found: Located) -> BarkConfig:
    """The sizes of the model that a voice's file names; those of the published models if it names none.

    A file may name any model: nothing is downloaded for it. Raises VoiceError for a file that cannot be read.
    """
    name = read_metadata(found.path).model if found.path.suffix.lower() == ".npz" else None
    if name is not None and name not in PUBLISHED_MODELS:
        try:
            if name == NANO or name.startswith(RANDOM) or is_checkpoint(Path(name).expanduser()):
                return find_model(name).config
        except (ModelError, OSError):
            pass
        note(f"{found.name} was made by {name}, which is not here: it is compared with the published models")
    return BarkConfig.small()
