"""How long does each stage take on fixed numbers of tokens, here and in the peers?

    python -m benchmarks.stages [--size small] [--cases semantic:5 coarse:10:voice …] [--rounds 5] [--peers …]

A case is stage:seconds[:voice]. Its input is random; every implementation gets the same and ends after as many tokens.
"""

import argparse
from collections.abc import Sequence
from typing import NamedTuple, Self

import jax

from bark_jax import Bark, BarkConfig
from bark_jax.bench import Row
from benchmarks import peers
from benchmarks.harness import record

WARM_UP = 0.5  # seconds of audio: compiles all that longer clips need


class Case(NamedTuple):
    """One stage of a clip."""

    stage: str
    seconds: float
    voice: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """From stage:seconds[:voice]. Raises ValueError."""
        stage, seconds, *voice = text.split(":")
        if stage not in peers.STAGES or voice not in ([], ["voice"]):
            raise ValueError(f"{text!r} is not stage:seconds[:voice] with a stage of {', '.join(peers.STAGES)}")
        return cls(stage, float(seconds), bool(voice))


CASES = (
    Case("semantic", 5), Case("coarse", 5), Case("coarse", 10, True), Case("fine", 5), Case("codec", 10)
)  # fmt: skip


def measure(
    config: BarkConfig, contestants: peers.Peers, case: Case, *, batch: int, rounds: int, once: Sequence[str] = ()
) -> list[Row]:
    """One row per implementation."""
    clips = (
        peers.Clip.random(config, seconds=seconds, voice=case.voice, batch=batch) for seconds in (WARM_UP, case.seconds)
    )
    brief, clip = ({n: peers.stage_call(p, case.stage, clip) for n, p in contestants.items()} for clip in clips)
    for call in brief.values():
        call()
    label = {"stage": case.stage, "audio s": case.seconds, "voice": "yes" if case.voice else "no", "batch": batch}
    return [label | row for row in peers.summary(peers.compete(clip, rounds, once))]


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", default="small")
    parser.add_argument("--cases", nargs="+", type=Case.parse, default=CASES)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--once", nargs="*", default=(), help="peers measured in the first round only")
    peers.add_options(parser)
    chosen = parser.parse_args(arguments)
    bark = Bark.from_config(BarkConfig.preset(chosen.size), jax.random.key(0), dtype=chosen.dtype)
    contestants = peers.enter(bark, chosen.size, chosen.peers, chosen.out)
    label = peers.label(chosen.size, bark)
    for case in chosen.cases:
        rows = measure(bark.config, contestants, case, batch=chosen.batch, rounds=chosen.rounds, once=chosen.once)
        title = f"stage {case.stage}, {case.seconds:g} s of audio, {chosen.size}"
        record(title, [label | row for row in rows], folder=chosen.out)


if __name__ == "__main__":
    main()
