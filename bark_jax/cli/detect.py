"""`bark-jax detect`: was this made by Bark? And `bark-jax detect train`: a detector of one's own."""

import argparse
from pathlib import Path

from bark_jax.cli.console import note, print_json
from bark_jax.errors import FileError, InputError
from bark_jax.figure import check_figure
from bark_jax.files import check_writable

_TRAIN = "train"


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_run)
    parser.description = (
        "Print the probability that each file was made by Bark. The built-in detector was trained on the built-in "
        "model's clips and is a demonstration; `bark-jax detect train --bark FOLDER --other FOLDER --to FILE` trains "
        "one on audio of yours (a file called train is ./train)."
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="audio files; or the word train")
    parser.add_argument("--detector", type=Path, metavar="FILE", help="of `detect train` (default: the built-in one)")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.add_argument("--hubert", metavar="WHICH", default="hubert",
                        help="for features of HuBERT: hubert, or a folder of bark-jax convert")  # fmt: skip
    group = parser.add_argument_group("detect train")
    group.add_argument("--bark", type=Path, metavar="FOLDER", help="audio that Bark made")
    group.add_argument("--other", type=Path, metavar="FOLDER", help="other audio, of the same texts or of many")
    group.add_argument("--to", type=Path, metavar="FILE", help="the detector, a JSON file")
    group.add_argument("--features", choices=["codec", "hubert"], default="codec",
                       help="of the built-in codec (default), or of HuBERT as in Suno's notebook")  # fmt: skip
    group.add_argument("--figure", type=Path, metavar="FILE", help="draw the ROC on held-out files")


def _run(options: argparse.Namespace) -> None:
    given = {name: getattr(options, name) for name in ("bark", "other", "to")}
    if options.files != [_TRAIN]:
        if extra := [f"--{name}" for name, value in (*given.items(), ("figure", options.figure)) if value]:
            raise InputError(f"{', '.join(extra)}: only for bark-jax detect train")
        _detect(options)
        return
    if missing := [f"--{name}" for name, value in given.items() if value is None]:
        raise InputError(f"detect train needs {', '.join(missing)}")
    _check_outputs(options)
    _train(options)


def _check_outputs(options: argparse.Namespace) -> None:
    for folder in (options.bark, options.other):
        if not folder.is_dir():
            raise FileError(f"there is no folder {folder}")
    try:
        check_writable(options.to)
    except OSError as error:
        raise FileError(f"cannot write {options.to}: {error}") from error
    if options.figure is not None:
        check_figure(options.figure)


def _detect(options: argparse.Namespace) -> None:
    if missing := [name for name in options.files if not Path(name).expanduser().is_file()]:
        raise FileError(f"there is no file {missing[0]}")
    from bark_jax.hearing.detection import BUILT_IN, Detector, detect  # with JAX

    detector = Detector.load(options.detector or BUILT_IN)
    found = {}
    for name in options.files:
        found[name] = detect(name, detector, hubert=options.hubert)
        for remark in found[name].notes:
            note(f"warning: {name}: {remark}")
        if not options.json:
            print(f"{found[name].probability:.3f}  {name}", flush=True)
    if options.json:
        print_json({name: {"probability": own.probability, "seconds": own.seconds} for name, own in found.items()})


def _train(options: argparse.Namespace) -> None:
    from tqdm import tqdm

    from bark_jax.hearing.detector_training import draw_roc, train_detector  # with JAX

    with tqdm(unit="file", disable=None) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        trained = train_detector(
            options.bark, options.other, features=options.features, hubert=options.hubert, progress=progress
        )
    for reason in trained.unusable:
        note(f"warning: not used: {reason}")
    trained.detector.save(options.to)
    if options.figure is not None:
        draw_roc([("held-out files", trained.bark, trained.other)], options.figure)
    note(
        f"{options.to}: area under the ROC {trained.auc:.3f} on {len(trained.bark)} files of Bark and "
        f"{len(trained.other)} others that were held out"
    )
