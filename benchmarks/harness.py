"""How do the benchmarks take turns, and where do their figures go?

A script makes rows, plain dicts with short column names as keys, and records them: as JSON for the plots, and as a
table under a dated heading of RESULTS.md for people. What could not run is a row too, with the reason under "note".
The plots find rows by their columns: "size", "dtype", "implementation", "stage", "batch", "context", "audio s",
"voice", "s", "ms/step", "real-time factor".
"""

import datetime
import importlib.metadata
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from bark_jax import measuring
from bark_jax.bench import Row, table

FOLDER = Path(__file__).parent


def machine() -> dict[str, str]:
    """`bark_jax.measuring.machine`, with the versions of the peers' libraries where they are installed."""
    peers = {}
    for name in ("torch", "transformers"):
        try:
            peers[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return measuring.machine() | peers


def interleaved(
    candidates: Mapping[str, Callable[[], object]], rounds: int, *, warm_up: bool = True
) -> dict[str, list[float]]:
    """Seconds of each call. Candidates take turns, each round in another order, so that drift hits all alike.

    What a call returns is waited for. With `warm_up` each is called once before the clock starts, to compile.
    """
    if warm_up:
        for call in candidates.values():
            _finish(call())
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    names = list(candidates)
    for number in range(rounds):
        turn = number % len(names) if names else 0
        for name in names[turn:] + names[:turn]:
            started = time.perf_counter()
            _finish(candidates[name]())
            seconds[name].append(time.perf_counter() - started)
    return seconds


def _finish(result: object) -> None:
    """Wait for JAX's arrays in the result, and for PyTorch's GPU where PyTorch is in use."""
    jax.block_until_ready(result)
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.synchronize()


def row_of_process(module: str, *arguments: str, timeout: float | None = None) -> Row:
    """The row that `python -m module …` prints as JSON on its last line, or why there is none."""
    command = [sys.executable, "-m", module, *arguments]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout)
    except subprocess.TimeoutExpired:
        return {"note": f"failed: it took more than {timeout:.0f} s"}
    if result.returncode:
        return {"note": f"failed: {(result.stderr.strip().splitlines() or [f'exit code {result.returncode}'])[-1]}"}
    row: Row = json.loads(result.stdout.strip().splitlines()[-1])
    return row


def record(name: str, rows: Sequence[Row], notes: str = "", *, folder: Path = FOLDER) -> None:
    """Print the rows, append them to results/<date>-<device>.json and put them on top of RESULTS.md."""
    entry = {
        "name": name,
        "time": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "command": _command(),
        "commit": _commit(),
        "machine": machine(),
        "notes": notes,
        "rows": [dict(row) for row in rows],
    }
    path = folder / "results" / f"{entry['time'][:10]}-{_slug(device(entry))}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    entries = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    text = json.dumps([*entries, entry], indent=1, ensure_ascii=False, default=float)  # NumPy's scalars too
    path.write_text(text + "\n", encoding="utf-8")
    section = _section(entry)
    _insert(folder / "RESULTS.md", section)
    print(section)


def device(entry: Mapping[str, Any]) -> str:
    """What a recorded entry was measured on."""
    return str(entry["machine"].get("device") or entry["machine"]["host"])


def _section(entry: Mapping[str, Any]) -> str:
    about = ", ".join(f"{key} {value}" for key, value in entry["machine"].items() if value)
    parts = [
        f"## {entry['time'][:10]}: {entry['name']}",
        f"{about}; commit {entry['commit']}.",
        f"    {entry['command']}",
        table(entry["rows"]),
        entry["notes"],
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _insert(path: Path, section: str) -> None:
    """Put the section before the newest one."""
    text = path.read_text(encoding="utf-8") if path.exists() else "# Results\n"
    intro, heading, rest = text.partition("\n## ")
    path.write_text(f"{intro.rstrip()}\n\n{section}{heading}{rest}", encoding="utf-8")


def _command() -> str:
    """The command line as typed, as far as Python knows it."""
    module = sys.modules["__main__"].__spec__
    program = f"-m {module.name.removesuffix('.__main__')}" if module else Path(sys.argv[0]).name
    return " ".join(["python", program, *sys.argv[1:]])


def _commit() -> str:
    """The commit that was measured, marked if the code differs from it; results do not count."""
    code = [".", ":!benchmarks/results", ":!benchmarks/RESULTS.md", ":!benchmarks/plots"]
    commit = _git("rev-parse", "--short", "HEAD")
    return commit + ("+changes" if _git("status", "--porcelain", "--", *code) else "") if commit else "unknown"


def _git(*arguments: str) -> str:
    command = ["git", "--no-optional-locks", *arguments]
    try:
        return subprocess.run(command, cwd=FOLDER.parent, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
