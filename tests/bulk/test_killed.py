"""A list of texts whose processes are killed: its files are those of a run that nothing interrupted.

BULK_ROWS and BULK_KILLS, in the environment, make it thorough: 2000 and 20 take four minutes a format on two cores.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from folders import content, entries, lines

pytestmark = pytest.mark.slow
ROWS, KILLS = int(os.environ.get("BULK_ROWS", "130")), int(os.environ.get("BULK_KILLS", "2"))


@pytest.mark.parametrize("format", ["flac", "parquet"])
def test_killed_at_any_moment_with_any_number_of_workers(tmp_path: Path, format: str) -> None:
    """SIGKILL while it starts, speaks and writes."""
    (tmp_path / "texts.jsonl").write_bytes(lines(entries(ROWS)))

    def command(folder: str, workers: int = 1) -> list[str]:
        return [sys.executable, "-m", "bark_jax", "bulk", str(tmp_path / "texts.jsonl"), "--to", str(tmp_path / folder),
                "--model", "random:tiny", "--workers", str(workers), "--format", format,
                "--compile-cache", str(tmp_path / "cache")]  # fmt: skip

    def progress() -> int:
        return len(list((tmp_path / "cut").glob("[rs]*")))

    done = subprocess.run(command("whole"), capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert f"of {ROWS + 2} rows" in done.stderr
    for number in range(KILLS):
        with subprocess.Popen(command("cut", 1 + number % 2), stderr=subprocess.DEVNULL) as process:
            wanted, end = (
                (number + 1) * ROWS // (KILLS + 1) // (64 if format == "parquet" else 1),
                time.monotonic() + 60,
            )
            while progress() < wanted and time.monotonic() < end and process.poll() is None:
                time.sleep(0.02)
            os.kill(process.pid, signal.SIGKILL)
    done = subprocess.run(command("cut"), capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    time.sleep(1)  # workers of killed runs end
    assert content(tmp_path / "cut") == content(tmp_path / "whole")
