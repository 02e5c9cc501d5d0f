"""What does fine-tuning a converted checkpoint of full size take: all parameters, or adapters (LoRA)?

    python -m benchmarks.fine_tuning [--start suno/bark-small] [--stages semantic coarse fine] [--batch 1] [--steps 3]

Without --start a PyTorch checkpoint of small's sizes with transformers' own random weights is written and converted:
time and memory do not depend on values. Every case is a run of `run_training` on clips of random tokens, four seconds
each and without voices, so that all are of one length, in a process of its own; its first step, which compiles, is not
timed. The host's peak counts all resident memory.
"""

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np

from bark_jax.bench import Row
from bark_jax.checkpoint import read_config
from bark_jax.config import BarkConfig
from bark_jax.loading import converter, resolve
from bark_jax.measuring import peak_memory
from bark_jax.text import builtin_tokenizer
from bark_jax.training import Clip, LoraConfig, RunConfig, Schedule, TrainConfig, run_training
from bark_jax.training.logs import METRICS
from bark_jax.voices.voice import Voice
from benchmarks.harness import FOLDER, record, row_of_process

MODES = ("full", "LoRA")
_SECONDS = 4.0  # of each clip


def write_start(folder: Path) -> Path:
    """A converted checkpoint, from a PyTorch checkpoint of small's sizes in Hugging Face's layout."""
    from transformers import BarkModel

    from benchmarks.torch_weights import bark_config

    source = folder / "pytorch"
    BarkModel(bark_config(BarkConfig.small())).save_pretrained(source)
    builtin_tokenizer().save(str(source / "tokenizer.json"))
    converter().convert_checkpoint(source, folder / "start", progress=False)
    return folder / "start"


def random_clips(config: BarkConfig, count: int) -> list[Clip]:
    """Clips of random tokens."""
    rng, codec = np.random.default_rng(0), config.codec
    tokens, frames = round(_SECONDS * config.semantic.rate_hz), round(_SECONDS * codec.frame_rate_hz)
    clips = []
    for number in range(count):
        fine = rng.integers(0, codec.codebook_size, (codec.codebooks, frames), np.int32)
        semantic = rng.integers(0, config.semantic.vocab, tokens, np.int32)
        voice = Voice(semantic=semantic, coarse=fine[: config.coarse.codebooks], fine=fine)
        clips.append(Clip(name=str(number), text="Hello, my name is Suno.", speaker="", tokens=voice))
    return clips


def measure(start: Path, stage: str, mode: str, batch: int, steps: int) -> Row:
    """Fine-tune in this process, which should have done nothing else before: seconds a step, peaks, losses."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        config = RunConfig(
            model=folder / "model", data=folder, run=folder / "run", start=str(start), batch=batch, history=0,
            train=TrainConfig(steps=steps + 1, warmup_steps=0, learning_rate=1e-4),
            lora=LoraConfig() if mode == "LoRA" else None,
            schedule=Schedule(log_every=1, save_every=steps + 1, sample_every=0, held_out=0),
        )  # fmt: skip
        clips = random_clips(read_config(start), max(batch, 8))
        run_training(config, stage, clips=clips, say=lambda line: print(line, file=sys.stderr))
        lines = [json.loads(line) for line in (config.run / METRICS).read_text().splitlines()]
    seconds = statistics.median(1 / line["steps_per_second"] for line in lines[1:])
    memory = {f"peak {name} GB": peak / 1e9 for name, peak in peak_memory().items()}
    return {"s/step": seconds, **memory, "first loss": lines[0]["loss"], "last loss": lines[-1]["loss"]}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run all cases and record them, or one of them and print it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--start", help="a folder or a hub repository (default: random weights)")
    parser.add_argument("--stages", nargs="+", default=["semantic", "coarse", "fine"])
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--steps", type=int, default=3, help="timed, after the first")
    parser.add_argument("--case", nargs=2, metavar=("STAGE", "MODE"), help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=FOLDER, help="the folder of RESULTS.md")
    options = parser.parse_args(arguments)
    if options.case:
        print(json.dumps(measure(Path(options.start), *options.case, options.batch, options.steps)))
        return
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        start = resolve(options.start) if options.start else write_start(Path(temporary))
        for stage in options.stages:
            for mode in MODES:
                print(f"{stage} {mode} …", file=sys.stderr)
                case = {"stage": stage, "trained": mode, "batch": options.batch, "steps": options.steps}
                shared = ("--start", str(start), "--batch", str(options.batch), "--steps", str(options.steps))
                rows.append({**case, **row_of_process("benchmarks.fine_tuning", "--case", stage, mode, *shared)})
    kind = options.start or "random weights of small's sizes, converted from PyTorch"
    record("fine-tuning", rows, f"From {kind}; {jax.default_backend()}.", folder=options.out)


if __name__ == "__main__":
    main()
