"""The benchmarks compare like with like, and record what they are asked for. No time is asserted."""

import json
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import torch

from bark_jax import Bark, BarkConfig, Settings, checkpoint, measuring
from bark_jax.config import NETWORKS
from bark_jax.models.parameters import parameters
from benchmarks import decode_step, end_to_end, fine_tuning, gpu, gpu_probes, limits, peers, stages
from benchmarks.harness import row_of_process

TWO = peers.PEERS[:2]
GREEDY = Settings(semantic_temperature=0, coarse_temperature=0, fine_temperature=0, allow_early_stop=False)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread for tiny networks, and the bandwidth of a cache will do."""
    torch.set_num_threads(1)
    monkeypatch.setattr(measuring, "CPU_WIDTH", 512)


@pytest.fixture(scope="module")
def bark() -> Bark:
    return Bark.from_config(BarkConfig.tiny(), jax.random.key(0))


@pytest.fixture(scope="module")
def contestants(bark: Bark) -> peers.Peers:
    found, about = peers.gather(bark, TWO, context=50)
    assert [row["implementation"] for row in about] == list(TWO)
    assert all(row["coarse error"] < 1e-5 for row in about)
    return found


@pytest.mark.parametrize("voice", [False, True])
@pytest.mark.parametrize("peer", TWO)
def test_peers_generate_the_tokens_that_ours_does(bark: Bark, peer: str, voice: bool) -> None:
    """Greedy, two rows, over several windows of the coarse and fine stages."""
    ours, theirs = peers.Ours(bark, GREEDY), peers.peer_builders()[peer](bark, GREEDY)
    clip = peers.Clip.random(bark.config, seconds=3, voice=voice, batch=2)
    long = peers.Clip.random(bark.config, seconds=14, voice=voice, batch=2)
    for stage, given in (("semantic", clip), ("coarse", clip), ("fine", long)):
        expected, tokens = (peers.stage_call(p, stage, given)() for p in (ours, theirs))
        assert tokens.shape == expected.shape
        if (peer, stage) != ("transformers", "coarse"):  # it may draw ids beyond the second codebook
            np.testing.assert_array_equal(tokens, expected)
    waveforms = [peers.stage_call(p, "codec", clip)() for p in (ours, theirs)]
    np.testing.assert_allclose(*waveforms, atol=1e-5)


def test_a_peer_that_cannot_run_is_a_row(bark: Bark, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> peers.Peer:
        raise RuntimeError("no compiler")

    monkeypatch.setattr(peers, "peer_builders", lambda: {peers.COMPILED: fail})
    found, about = peers.gather(bark, [peers.COMPILED])
    assert list(found) == [peers.OURS]
    assert about == [{"implementation": peers.COMPILED, "note": "did not run: RuntimeError: no compiler"}]


def test_nothing_is_timed_when_logits_differ(bark: Bark, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Bark.from_config(bark.config, jax.random.key(1))
    monkeypatch.setattr(peers, "peer_builders", lambda: {"loop": lambda _, settings: peers.Ours(other, settings)})
    with pytest.raises(SystemExit, match="does not compute"):
        peers.gather(bark, ["loop"], context=50)


def test_decoding_steps(bark: Bark, contestants: peers.Peers) -> None:
    rows = decode_step.measure(bark, contestants, batch=2, context=50, steps=3, rounds=1)
    assert [(row["stage"], row["implementation"]) for row in rows] == [
        (stage, name) for stage in ("semantic", "coarse") for name in (peers.OURS, *TWO)
    ]
    assert all(row["ms/step"] > 0 and row["of bandwidth"] > 0 for row in rows)


def test_stages(bark: Bark, contestants: peers.Peers) -> None:
    case = stages.Case.parse("coarse:0.6:voice")
    rows = stages.measure(bark.config, contestants, case, batch=1, rounds=2, once=["transformers"])
    assert {row["implementation"]: row["rounds"] for row in rows} == {peers.OURS: 2, "transformers": 1, TWO[1]: 2}
    assert {row["voice"] for row in rows} == {"yes"}


def test_whole_clips_and_what_is_left_out(bark: Bark, contestants: peers.Peers) -> None:
    with_peers, alone, too_long = map(end_to_end.Case.parse, ("0.6", "0.6:voice", "10:x1000"))
    plan = end_to_end.Plan(cases=[], against=[with_peers], rounds=1, rounds_alone=1, once=(), limit=60.0)
    pace = end_to_end.Pace()
    rows: list[Any] = list(end_to_end.measure(bark, contestants, with_peers, plan, pace))
    assert [row["stage"] for row in rows] == [stage for stage in ("all", *peers.STAGES) for _ in contestants]
    rows = list(end_to_end.measure(bark, contestants, alone, plan, pace))
    assert {row["implementation"] for row in rows if "note" in row} == set(TWO)
    assert {row["voice"] for row in rows} == {"yes"}
    rows = list(end_to_end.measure(bark, contestants, too_long, plan, pace))
    assert [row["implementation"] for row in rows] == [peers.OURS, *TWO]
    assert all(row["note"].startswith("not run: would take about") for row in rows)


@pytest.mark.parametrize("text", ["", "x", "5:vioce", "5:x", "5:x2:voice"])
def test_bad_cases_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not seconds|could not convert|invalid literal"):
        end_to_end.Case.parse(text)


def test_a_gpu_part_that_fails_or_takes_too_long_keeps_its_rows(tmp_path: Path) -> None:
    def endless() -> Any:
        yield {"row": 1}
        time.sleep(60)

    def failing() -> Any:
        yield {"row": 2}
        raise RuntimeError("no memory")

    gpu.run(("endless", 0.2, endless), 100, tmp_path)
    gpu.run(("failing", 100, failing), 100, tmp_path)
    [path] = (tmp_path / "results").glob("*.json")
    endless_rows, failing_rows = (entry["rows"] for entry in json.loads(path.read_text()))
    assert (endless_rows[0], failing_rows[0]) == ({"row": 1}, {"row": 2})
    assert ("OutOfTime" in endless_rows[1]["note"], "no memory" in failing_rows[1]["note"]) == (True, True)


def test_the_profile_counts_what_ran(bark: Bark, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_probes, "SECONDS", 0.2)
    rows = list(gpu_probes.profile(bark, "tiny"))
    assert [row["stage"] for row in rows if row["kernel"] == "all"] == ["semantic", "coarse"]
    assert all(row["kernels/token"] > 0 for row in rows)


@pytest.mark.parametrize("causal", [False, True])
def test_ways_of_attention_agree(causal: bool) -> None:
    qkv = jax.random.normal(jax.random.key(0), (3, 2, 300, 2, 16), np.float32)
    ways = gpu_probes.attentions(causal)
    np.testing.assert_allclose(ways[peers.OURS](qkv), ways["jax.nn, XLA"](qkv), atol=1e-5)


def test_a_process_that_fails_says_why() -> None:
    row = row_of_process("benchmarks.gpu_probes", "no such size", "float32")
    assert "there is no preset 'no such size'" in row["note"]


def test_a_clip_is_the_sum_of_its_parts(bark: Bark) -> None:
    cases = [end_to_end.Case(5.0), end_to_end.Case(10.0, voice=True)]
    rows = limits.measure(bark, cases, rounds=1)
    times = [[row["times"] for row in rows if row["voice"] == voice] for voice in ("no", "yes")]
    # A prompt per window once it slides.
    assert times == [[249, 1, 748, 1, 2, 6, 374, 374], [499, 1, 1500, 0, 25, 12, 750, 750]]
    assert all(row["s"] == pytest.approx(row["times"] * row["ms"] / 1e3) for row in rows)


def test_fine_tuning(bark: Bark, tmp_path: Path) -> None:
    networks = {
        name: [(path, np.asarray(value)) for path, value in parameters(getattr(bark, name)).items()]
        for name in NETWORKS
    }
    tokenizer = bark.tokenizer.to_str()
    checkpoint.write_checkpoint(tmp_path / "start", bark.config, networks, tokenizer_json=tokenizer)
    for mode in fine_tuning.MODES:
        row = fine_tuning.measure(tmp_path / "start", "fine", mode, batch=1, steps=1)
        assert row["s/step"] > 0
        assert np.isfinite([row["first loss"], row["last loss"]]).all()
