"""How long does a clip take from text to waveform, here and in the peers?

    python -m benchmarks.end_to_end [--sizes small] [--cases 5 10:voice 5:x8 …] [--against 5] [--rounds 5] [--peers …]

A case is seconds[:voice][:xBATCH]. Every stage works on what the one before it made, and no clip ends early. Peers take
part in the cases named by --against, and nobody in what would take longer than --limit seconds: both are recorded as
not run, with an estimate. The rows of the stages come from the same calls. For a single clip the time to the first
audio is the whole time, because the fine stage looks at all frames.
"""

import argparse
import itertools
import statistics
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Self

import jax

from bark_jax import Bark, BarkConfig
from bark_jax.bench import Row
from benchmarks import peers
from benchmarks.harness import record

WARM_UP = 0.5  # seconds of audio: compiles all that longer clips need


class Case(NamedTuple):
    """A clip, or a batch of equal ones."""

    seconds: float
    voice: bool = False
    batch: int = 1

    @classmethod
    def parse(cls, text: str) -> Self:
        """From seconds[:voice][:xBATCH]. Raises ValueError."""
        seconds, *rest = text.split(":")
        batch = int(rest.pop().removeprefix("x")) if rest and rest[-1].startswith("x") else 1
        if rest not in ([], ["voice"]):
            raise ValueError(f"{text!r} is not seconds[:voice][:xBATCH]")
        return cls(float(seconds), bool(rest), batch)

    def columns(self) -> Row:
        """What says in a table which case it is."""
        return {"audio s": self.seconds, "voice": "yes" if self.voice else "no", "batch": self.batch}


class Plan(NamedTuple):
    """How much is run."""

    cases: Sequence[Case]
    against: Sequence[Case]  # those with peers
    rounds: int  # with peers
    rounds_alone: int
    once: Sequence[str]  # peers in the first round only
    limit: float  # seconds of a round, for each implementation


class Pace:
    """How fast each implementation has been so far, to tell what is still to come."""

    def __init__(self) -> None:
        self.known: dict[str, float] = {}

    def learn(self, name: str, config: BarkConfig, case: Case, seconds: float) -> None:
        self.known[name] = seconds / _work(config, case)

    def expect(self, name: str, config: BarkConfig, case: Case) -> float:
        """Seconds, 0 where nothing is known; in proportion to weights, audio and batch, so rather too many."""
        return self.known.get(name, 0.0) * _work(config, case)


def _work(config: BarkConfig, case: Case) -> float:
    gpt = config.semantic.gpt
    return gpt.layers * gpt.width**2 * case.seconds * case.batch


class Meter:
    """Calls of an implementation on one clip: the seconds of every stage in each of them."""

    def __init__(self, peer: peers.Peer, clip: peers.Clip) -> None:
        self.peer, self.clip = peer, clip
        self.calls: list[dict[str, float]] = []

    def __call__(self) -> None:
        self.calls.append(peers.speak(self.peer, self.clip))

    def median(self, stages: Sequence[str]) -> float:
        """Seconds of these stages together."""
        return statistics.median(sum(call[stage] for stage in stages) for call in self.calls)


def measure(bark: Bark, contestants: peers.Peers, case: Case, plan: Plan, pace: Pace) -> Iterator[Row]:
    """The rows of one case: whole clips, what was not run, and the stages."""
    chosen = {name: peer for name, peer in contestants.items() if _takes_part(name, bark.config, case, plan, pace)}
    meters = time_clips(bark.config, chosen, case, plan) if peers.OURS in chosen else {}
    for name, meter in meters.items():
        seconds = meter.median(peers.STAGES)
        pace.learn(name, bark.config, case, seconds)
        audio = case.seconds * case.batch
        factor = {"real-time factor": seconds / audio, "audio s per s": audio / seconds}
        ratio = {"ours/this": meters[peers.OURS].median(peers.STAGES) / seconds, "rounds": len(meter.calls)}
        yield {"stage": "all"} | case.columns() | {"implementation": name, "s": seconds} | factor | ratio
    for name in (name for name in contestants if name not in meters):
        minutes = pace.expect(name, bark.config, case) / 60
        note = f"not run: would take about {minutes:.0f} min" if minutes else "not run"
        yield {"stage": "all"} | case.columns() | {"implementation": name, "note": note}
    for stage, (name, meter) in itertools.product(peers.STAGES, meters.items()):
        ratio = {"ours/this": meters[peers.OURS].median([stage]) / meter.median([stage])}
        yield {"stage": stage} | case.columns() | {"implementation": name, "s": meter.median([stage])} | ratio


def _takes_part(name: str, config: BarkConfig, case: Case, plan: Plan, pace: Pace) -> bool:
    return (name == peers.OURS or case in plan.against) and pace.expect(name, config, case) <= plan.limit


def time_clips(config: BarkConfig, chosen: peers.Peers, case: Case, plan: Plan) -> dict[str, Meter]:
    """Let the chosen speak in turns, after a short clip each that compiles."""
    clips = (
        peers.Clip.random(config, seconds=seconds, voice=case.voice, batch=case.batch)
        for seconds in (WARM_UP, case.seconds)
    )
    brief, meters = ({name: Meter(peer, clip) for name, peer in chosen.items()} for clip in clips)
    peers.compete(brief, 1)
    peers.compete(meters, plan.rounds if len(chosen) > 1 else plan.rounds_alone, plan.once)
    return meters


def run(size: str, plan: Plan, pace: Pace, chosen: argparse.Namespace) -> None:
    """Measure all cases of one size, and record each of them."""
    bark = Bark.from_config(BarkConfig.preset(size), jax.random.key(0), dtype=chosen.dtype)
    contestants, label = peers.enter(bark, size, chosen.peers, chosen.out), peers.label(size, bark)
    for number, case in enumerate(plan.cases):
        minutes = sum(_minutes(bark.config, contestants, later, plan, pace) for later in plan.cases[number:])
        print(f"{size}: case {number + 1} of {len(plan.cases)}; about {minutes:.0f} min left", file=sys.stderr)
        rows = [label | row for row in measure(bark, contestants, case, plan, pace)]
        record(f"end to end, {case.seconds:g} s of audio, {size}", rows, folder=chosen.out)


def _minutes(config: BarkConfig, contestants: peers.Peers, case: Case, plan: Plan, pace: Pace) -> float:
    """What the case will take, as far as the pace is known."""
    rounds = plan.rounds if case in plan.against else plan.rounds_alone
    names = [name for name in contestants if _takes_part(name, config, case, plan, pace)]
    return rounds * sum(pace.expect(name, config, case) for name in names) / 60


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    cpu = jax.default_backend() == "cpu"
    lengths = ["5", "3", "10", "13.65", "5:voice", "10:voice", "13.65:voice"]
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", nargs="+", default=["small"] if cpu else ["small", "large"])
    parser.add_argument("--cases", nargs="+", default=[*lengths, *(["5:x8", "5:x64"] if cpu else ["10:x8", "10:x64"])])
    parser.add_argument("--against", nargs="*", default=["5"] if cpu else ["5", "10", "10:x8", "10:x64"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rounds-alone", type=int, default=1 if cpu else 5, help="where no peer takes part")
    parser.add_argument("--once", nargs="*", default=(), help="peers measured in the first round only")
    parser.add_argument("--limit", type=float, default=300.0, help="seconds that one call may take")
    peers.add_options(parser)
    chosen = parser.parse_args(arguments)
    plan = Plan(
        cases=[Case.parse(text) for text in chosen.cases], against=[Case.parse(text) for text in chosen.against],
        rounds=chosen.rounds, rounds_alone=chosen.rounds_alone, once=chosen.once, limit=chosen.limit,
    )  # fmt: skip
    pace = Pace()
    for size in chosen.sizes:
        run(size, plan, pace, chosen)
        peers.release()


if __name__ == "__main__":
    main()
