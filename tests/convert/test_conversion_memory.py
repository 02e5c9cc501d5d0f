"""Memory of full-size conversions: few anonymous pages, and Adam's state is not read."""

import dataclasses
import re
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import pytest

from bark_jax.checkpoint import is_checkpoint
from bark_jax.config import BarkConfig, GPTConfig

from torch_checkpoints import random_model, save_bin, write_huggingface, write_suno

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")]

HERE = Path(__file__).parent


def make_huggingface(folder: str, size: str) -> None:
    config: BarkConfig = getattr(BarkConfig, size)()
    write_huggingface(Path(folder), random_model(config).state_dict(), config, save_bin)


def make_suno(folder: str) -> None:
    """A full-size text_2.pt with Adam's state (5.4 GB); the rest is small."""
    large, narrow = BarkConfig.large(), {"layers": 1, "heads": 1, "width": 16}
    config = dataclasses.replace(
        large,
        coarse=dataclasses.replace(large.coarse, gpt=GPTConfig(**narrow, input_vocab=12_096, output_vocab=12_096)),
        fine=dataclasses.replace(large.fine, gpt=dataclasses.replace(large.fine.gpt, **narrow)),
    )
    Path(folder).mkdir()
    write_suno(Path(folder), random_model(config).state_dict(), config, "_2")


def in_another_process(call: str, *arguments: str) -> None:
    """So that the memory PyTorch needs to make a checkpoint is returned."""
    code = f"import sys, test_conversion_memory as t; t.{call}(*sys.argv[1:])"
    subprocess.run([sys.executable, "-c", code, *arguments], cwd=HERE, check=True)


def peaks(source: Path, out: Path) -> dict[str, int]:
    """Convert; the highest RssAnon and RssFile (bytes) seen every 20 ms."""
    command = [sys.executable, "-m", "bark_jax.convert", str(source), str(out), "--quiet"]
    highest: defaultdict[str, int] = defaultdict(int)
    with subprocess.Popen(command) as process:
        status = Path(f"/proc/{process.pid}/status")
        while process.poll() is None:
            for kind, kibibytes in re.findall(r"(Rss\w+):\s+(\d+) kB", status.read_text()):
                highest[kind] = max(highest[kind], 1024 * int(kibibytes))
            time.sleep(0.02)
    assert process.returncode == 0
    assert is_checkpoint(out)
    return highest


@pytest.mark.parametrize("size", ["small", "large"])
def test_huggingface(size: str, tmp_path: Path) -> None:
    in_another_process("make_huggingface", str(tmp_path / "source"), size)
    peak = peaks(tmp_path / "source", tmp_path / "out")
    print({kind: f"{value / 1e9:.2f} GB" for kind, value in peak.items()})
    assert peak["RssAnon"] < 1e9


def test_adams_state_is_not_read(tmp_path: Path) -> None:
    in_another_process("make_suno", str(tmp_path / "source"))
    file = tmp_path / "source" / "text_2.pt"
    peak = peaks(tmp_path / "source", tmp_path / "out")
    print(
        f"{file.stat().st_size / 1e9:.2f} GB on disk", {kind: f"{value / 1e9:.2f} GB" for kind, value in peak.items()}
    )
    assert file.stat().st_size > 5.3e9
    assert peak["RssFile"] < 2.5e9  # a third is the model
    assert peak["RssAnon"] < 1e9
