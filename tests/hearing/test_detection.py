"""Is it Bark's? Features, the classifier, its files, and the command."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile

from bark_jax import Bark, detect
from bark_jax.audio import write_audio
from bark_jax.checkpoint import CheckpointError
from bark_jax.cli import main
from bark_jax.errors import InputError
from bark_jax.hearing.detection import BUILT_IN, Detector, codec_features
from bark_jax.hearing.detector_training import area, fit, is_held_out, roc, train_detector

RATE = 16_000
RANDOM = np.random.default_rng(0)


def tone(hertz: float, seconds: float = 1.5) -> np.ndarray:
    time = np.arange(round(RATE * seconds)) / RATE
    return (0.3 * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


def noise(seed: int, seconds: float = 1.5) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(round(RATE * seconds))).astype(np.float32)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Tones, which pass for Bark's, and noise."""
    own = tmp_path_factory.mktemp("detector")
    for kind in ("tones", "noise"):
        (own / kind).mkdir()
        for number in range(24):
            waveform = tone(200 + 20 * number) if kind == "tones" else noise(number)
            write_audio(own / kind / f"{number}.wav", waveform, RATE)
    return own / "tones", own / "noise"


def test_the_built_in_detector_knows_the_built_in_model() -> None:
    clip = Bark.from_pretrained("nano").generate("It is cold today.", voice="eve", seed=1)
    found = detect((clip.waveform, clip.sample_rate))
    assert found.probability > 0.5
    assert found.seconds == pytest.approx(clip.seconds)


def test_features_are_of_all_windows_and_of_nothing_else() -> None:
    """Statistics of a long recording are those of its windows together, and padding does not count."""
    long = np.concatenate([noise(0, 8), tone(300, 8), noise(1, 4)])
    count = len(codec_features(long)) // 3
    parts = [codec_features(part)[:count] for part in (long[: 8 * RATE], long[8 * RATE : 16 * RATE], long[16 * RATE :])]
    np.testing.assert_allclose(codec_features(long)[:count], np.average(parts, axis=0, weights=[8, 8, 4]), rtol=1e-6)
    whole = RATE // 320 * 320
    np.testing.assert_allclose(codec_features(noise(2)[:whole]), codec_features(noise(2)[: whole + 100]), atol=0.05)


def test_the_fit_separates_what_can_be_separated() -> None:
    bark, other = RANDOM.normal(1, 1, (80, 5)), RANDOM.normal(-1, 1, (20, 5))
    detector = fit("codec", np.concatenate([bark, other]), np.arange(100) < 80)
    assert area(detector.logit(bark), detector.logit(other)) > 0.98
    assert abs(np.median(detector.logit(np.zeros((1, 5))))) < 2  # the kinds weigh the same
    same = fit("codec", np.ones((20, 3)), np.arange(20) < 10)
    assert math.isclose(float(same.logit(np.ones(3))), 0, abs_tol=1e-3)


def test_roc_and_its_area() -> None:
    bark, other = np.array([3.0, 2.0, 2.0]), np.array([2.0, 1.0])
    false, true = roc(bark, other)
    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)
    assert area(bark, other) == pytest.approx(np.trapezoid(true, false)) == pytest.approx((2 + 1.5 + 1.5) / 6)


def test_detectors_are_kept_in_files(tmp_path: Path) -> None:
    detector = Detector.load(BUILT_IN)
    detector.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == BUILT_IN.read_bytes()


GOOD = {
    "format": "bark_jax_detector",
    "version": 1,
    "features": "codec",
    "mean": [0],
    "scale": [1],
    "weights": [1],
    "bias": 0,
}


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", *(json.dumps({**GOOD, **change}) for change in (
        {"version": 2}, {"features": "other"}, {"mean": [0, 1]}, {"scale": [0]}, {"weights": [float("inf")]},
        {"bias": float("nan")}, {"mean": "x"}, {"weights": [[1]]}, {"mean": [0] * 20_000})
    )],
)  # fmt: skip
def test_other_files_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises((CheckpointError, InputError)):
        Detector.load(tmp_path / "a.json")


def test_pickles_are_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"fake\.pkl is a pickle, which is never run.*detect train"):
        Detector.load("fake.pkl")


def test_held_out_files_are_chosen_by_name() -> None:
    names = [Path(f"{number}.wav") for number in range(400)]
    assert 60 < sum(map(is_held_out, names)) < 140
    assert is_held_out(Path("a/1.wav")) == is_held_out(Path("b/1.flac"))


def test_the_command(folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tones, noises = folders
    detector, figure = tmp_path / "d.json", tmp_path / "roc.png"
    train = ["detect", "train", "--bark", str(tones), "--other", str(noises), "--to", str(detector)]
    assert main([*train, "--figure", str(figure)]) == 0
    assert "area under the ROC 1.000" in capsys.readouterr().err
    assert figure.stat().st_size > 1000
    files = [str(tones / "0.wav"), str(noises / "0.wav")]
    assert main(["detect", *files, "--detector", str(detector)]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith("0.wav")
    assert float(first.split()[0]) > 0.5 > float(second.split()[0])
    assert main(["detect", *files, "--detector", str(detector), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found[files[0]]) == {"probability", "seconds"}


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["missing.wav"], 3, "no file missing.wav"),
        (["text.wav"], 3, "cannot read"),
        (["short.wav"], 2, "1 s are the least"),
        (["short.wav", "--detector", "missing.json"], 4, "missing.json"),
        (["short.wav", "--to", "x.json"], 2, "--to: only for"),
        (["train"], 2, "needs --bark, --other, --to"),
        (["train", "--bark", "no", "--other", ".", "--to", "x.json"], 3, "no folder no"),
        (["train", "--bark", ".", "--other", "empty", "--to", "x.json"], 2, "has no audio"),
        (["train", "--bark", ".", "--other", ".", "--to", "x.json"], 2, "0 usable audio files"),
        (["train", "--bark", ".", "--other", ".", "--to", "no/x.json"], 3, "cannot write"),
    ],
)
def test_refusals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    arguments: list[str], code: int, words: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("text.wav").write_text("text")
    soundfile.write("short.wav", np.zeros(100, np.float32), RATE)
    assert main(["detect", *arguments]) == code
    assert words in capsys.readouterr().err
    assert not Path("x.json").exists()


def test_unusable_files_are_named(folders: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    for path in folders[1].iterdir():
        (tmp_path / "other" / path.name).write_bytes(path.read_bytes())
    soundfile.write(tmp_path / "other" / "short.wav", np.zeros(100, np.float32), RATE)
    trained = train_detector(folders[0], tmp_path / "other", features="codec")
    (reason,) = trained.unusable
    assert reason.startswith("short.wav has 0.01 s")
    assert trained.auc == 1
