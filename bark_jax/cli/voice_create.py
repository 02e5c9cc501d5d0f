"""`bark-jax voices create`: a voice from a recording."""

import argparse

from bark_jax.cli.console import note
from bark_jax.cli.models import DEFAULT_MODEL, find_model
from bark_jax.hearing.cloning import CONSENT, listen
from bark_jax.voices.library import save_voice, voice_file


def add_create(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_create)
    parser.description = f"Make a voice of a recording of 5 to 12 seconds of clear speech. {CONSENT}"
    parser.add_argument("recording", metavar="RECORDING", help="an audio file of one speaker")
    parser.add_argument("name", help="what to call it in the library; or the path of an .npz file")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="that is to speak with it (default: %(default)s)")
    parser.add_argument("--from", dest="start", type=float, default=None, metavar="S",
                        help="where the stretch begins, in seconds (default: the best one is chosen)")  # fmt: skip
    parser.add_argument("--to", dest="end", type=float, default=None, metavar="S", help="where it ends")
    parser.add_argument("--language", metavar="TAG", default=None, help="what it speaks, such as de or pt-BR")
    parser.add_argument("--description", metavar="TEXT", default=None, help="what it is like")
    parser.add_argument(
        "--hubert", metavar="WHICH", default="hubert",
        help="what makes semantic tokens for the published models: hubert, hubert:german, … or a folder of bark-jax "
        "convert --quantizer; nano has its own",
    )  # fmt: skip
    parser.add_argument("--force", action="store_true", default=False,
                        help="replace a voice of that name; try what sounds like noise or music")  # fmt: skip


def _create(options: argparse.Namespace) -> None:
    voice_file(options.name, overwrite=options.force, model=options.model)
    model = find_model(options.model)
    heard = listen(
        options.recording, model.config.codec.sample_rate, start=options.start, end=options.end, force=options.force
    )
    for advice in heard.advice:
        note(f"warning: {heard.recording.name}: {advice}")
    note(heard.describe())
    from bark_jax.bark import Bark  # imports JAX, once the recording is known to be good

    bark = Bark.from_pretrained(model.source, progress=True, name=model.name)
    voice = bark.voice_of(heard, language=options.language, description=options.description, hubert=options.hubert)
    path = save_voice(voice, options.name, overwrite=options.force)
    note(f"{options.name} is in {path}; the recording's hash is kept in it")
