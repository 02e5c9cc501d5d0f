"""The means of the benchmarks: what they report and record. Nothing here is about how long anything takes."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from bark_jax import Bark, BarkConfig, bench, measuring
from bark_jax.cli import main
from bark_jax.config import NETWORKS
from bark_jax.models.parameters import parameter_shapes
from benchmarks import growth, harness, memory

TINY = ["bench", "--model", "random:tiny", "--seconds", "0.5"]


@pytest.fixture(scope="module")
def bark() -> Bark:
    return Bark.from_config(BarkConfig.tiny(), jax.random.key(0))


@pytest.fixture(autouse=True)
def small_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bandwidth of a cache will do."""
    monkeypatch.setattr(measuring, "CPU_WIDTH", 512)


def test_the_command_reports_as_json_and_as_text(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main([*TINY, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [row["stage"] for row in report["steps"]] == ["semantic", "coarse"]
    assert [row["stage"] for row in report["stages"]] == list(NETWORKS)
    assert report["programs"][1] == 0
    assert report["audio s"] == pytest.approx(0.5, abs=0.05)
    monkeypatch.setattr(bench, "measure", lambda *_: report)
    assert main(TINY) == 0
    out = capsys.readouterr().out
    assert all(word in out for word in ("jax", "GB/s", "ms/step", "semantic", "codec", "real-time factor", "GB (host)"))


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--seconds", "0"], 2, "max_seconds must be"),
        (["--model", "random:huge"], 4, "huge"),
        (["--model", "not a model"], 4, "not a model"),
    ],
)
def test_errors_of_the_command(
    capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, message: str
) -> None:
    assert main(["bench", *arguments]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err.splitlines()[-1]


@pytest.mark.parametrize("stage", bench.STAGES)
def test_a_context_is_no_new_program_and_a_batch_is_one(bark: Bark, stage: bench.Stage) -> None:
    network = getattr(bark, stage)
    bench.decoder(network, stage, bark.config)()
    other = bench.decoder(network, stage, bark.config, context=bench.cache_length(bark.config, stage))
    larger = bench.decoder(network, stage, bark.config, batch=2)
    for decode, batch, programs in ((other, 1, 0), (larger, 2, 1)):
        with measuring.compilations() as compiled:
            tokens = decode()
        assert (tokens.shape, tokens.dtype) == ((batch,), np.int32)
        assert len(compiled) == programs


@pytest.mark.parametrize(("context", "steps"), [(2, 3), (1025, 3), (400, 0)])
def test_a_context_that_does_not_fit(bark: Bark, context: int, steps: int) -> None:
    with pytest.raises(ValueError, match=f"context {context}, steps {steps}"):
        bench.decoder(bark.semantic, "semantic", bark.config, context=context, steps=steps)


@pytest.mark.parametrize(("stage", "live"), [("semantic", 201), ("coarse", 64)])
def test_bytes_of_a_step(bark: Bark, stage: bench.Stage, live: int) -> None:
    shapes = parameter_shapes(bark.config, stage)
    blocks = sum(math.prod(shape) for path, shape in shapes.items() if path.startswith("blocks."))
    cache = 2 * 2 * 3 * 300 * 32  # keys and values, layers, rows, positions, width
    found = bench.step_bytes(getattr(bark, stage), stage, bark.config, batch=3, context=300)
    assert found == 4 * (blocks + 32 * live + cache)


def test_candidates_take_turns() -> None:
    calls: list[str] = []

    def candidate(name: str) -> Callable[[], Any]:
        return lambda: calls.append(name)

    seconds = harness.interleaved({name: candidate(name) for name in "abc"}, 4)
    assert "".join(calls) == "abc" + "abc" + "bca" + "cab" + "abc"
    assert {name: len(times) for name, times in seconds.items()} == {"a": 4, "b": 4, "c": 4}
    calls.clear()
    harness.interleaved({name: candidate(name) for name in "ab"}, 1, warm_up=False)
    assert calls == ["a", "b"]


def test_results_are_recorded_newest_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "RESULTS.md").write_text("# Results\n\nAn introduction.\n\n## 2001-01-01: oldest\n\nOld.\n")
    rows = [{"stage": "fine", "s": 1.5}, {"stage": "codec", "note": "did not run: a|b"}]
    harness.record("first", rows, folder=tmp_path)
    harness.record("second", [{"s": 2}], "Some notes.", folder=tmp_path)
    text = (tmp_path / "RESULTS.md").read_text()
    places = [text.index(words) for words in ("An introduction.", ": second", "Some notes.", ": first", ": oldest")]
    assert places == sorted(places)
    assert "| codec |     | did not run: a\\|b |" in text
    assert text.count("## ") == 3
    (file,) = (tmp_path / "results").iterdir()
    first, second = json.loads(file.read_text())
    assert (first["name"], second["name"]) == ("first", "second")
    assert first["rows"] == rows
    assert first["machine"]["jax"] == jax.__version__
    assert {"commit", "command", "time"} <= first.keys()
    assert ": second" in capsys.readouterr().out


def test_growth_counts_compilations(tmp_path: Path) -> None:
    growth.main(
        ["--size", "tiny", "--batches", "3", "4", "--seconds", "0.5", "1", "--rounds", "1", "--out", str(tmp_path)]
    )
    (file,) = (tmp_path / "results").iterdir()
    contexts, batches, lengths = (entry["rows"] for entry in json.loads(file.read_text()))
    assert [row["compiled"] for row in contexts if row["context"] > 256] == [0] * 8
    assert [(row["batch"], row["compiled"]) for row in batches] == [(3, 1), (4, 1)] * 2
    assert [(row.get("note"), row["compiled"]) for row in lengths[1:]] == [(None, 0)] * 2


def test_memory_of_a_written_checkpoint(tmp_path: Path) -> None:
    memory.write_zeros(tmp_path / "tiny", "tiny", "float32")
    row = memory.measure(tmp_path / "tiny", "float32", False, 0.5)
    assert row["load s"] > 0
    nothing = harness.row_of_process("benchmarks.memory", "--case", str(tmp_path / "nothing"), "float32", "0", "1")
    assert nothing["note"].startswith("failed: ")


def test_plots_are_drawn_from_the_newest_rows(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from benchmarks import plots

    label = {
        "size": "tiny",
        "dtype": "float32",
        "implementation": "bark_jax",
        "batch": 1,
        "audio s": 5.0,
        "voice": "no",
    }
    for seconds in (2.0, 1.0):
        rows = [{"stage": "fine", "s": seconds}, {"stage": "fine", "s": 3.0, "implementation": "another"}]
        harness.record("stages", [label | row for row in rows], folder=tmp_path)
    harness.record("end to end", [label | {"real-time factor": 7.0}], folder=tmp_path)
    harness.record("memory", [{"size": "tiny", "dtype": "bfloat16", "load s": 1.0}], folder=tmp_path)
    plots.main(["--size", "tiny", "--folder", str(tmp_path)])
    assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == ["stages.svg", "throughput.svg"]
    drawn = (tmp_path / "plots" / "stages.svg").read_text()
    assert all(text in drawn for text in ("fine, 5 s of audio", "another", ">1 s<", ">3 s<"))
    assert ">2 s<" not in drawn
    with pytest.raises(SystemExit, match="no results of the size large"):
        plots.main(["--size", "large", "--folder", str(tmp_path)])
