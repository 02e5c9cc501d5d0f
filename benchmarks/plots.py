"""What do the newest results look like?

    python -m benchmarks.plots [--size small]

Takes the device that was measured last and, of every row in benchmarks/results/*.json, its newest measurement. Draws
SVGs into benchmarks/plots/: a bar for each stage and implementation, the real-time factor against the batch, and the
cost of tokens against context, batch and clip length. What was not measured is not drawn.
"""

import argparse
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bark_jax.bench import Row
from benchmarks.harness import FOLDER, device

STYLE: dict[str, Any] = {
    "font.size": 9,
    "axes.titlesize": 9,
    "figure.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": "white",
    "legend.frameon": False,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "bark_jax",  # the same results give the same file
}
COLOURS = ("#d1495b", "#30638e", "#8d99ae", "#edae49", "#66a182")  # ours first
LABELS = ("size", "dtype", "implementation", "stage", "batch", "context", "audio s", "voice")  # of what was measured
MEASURES = ("s", "ms/step", "real-time factor")


def newest_rows(folder: Path, size: str) -> tuple[list[Row], str]:
    """The newest measurement of everything, for one size, on the device and in the dtype measured last; and a title.

    Raises SystemExit when there is none.
    """
    entries = [entry for path in folder.glob("*.json") for entry in json.loads(path.read_text(encoding="utf-8"))]
    entries.sort(key=lambda entry: entry["time"])
    measured = [
        (entry, row) for entry in entries for row in _with(entry["rows"], "dtype", size=size)
        if any(name in row for name in MEASURES)
    ]  # fmt: skip
    if not measured:
        raise SystemExit(f"{folder} holds no results of the size {size}: run python -m benchmarks")
    entry, row = measured[-1]
    where, dtype = device(entry), row["dtype"]
    rows = {_identity(row): row for entry, row in measured if (device(entry), row["dtype"]) == (where, dtype)}
    return list(rows.values()), f"Bark {size}, {dtype}, on {where}, {entry['time'][:10]}"


def _identity(row: Row) -> tuple[Any, ...]:
    """Two rows of one identity are measurements of the same thing."""
    return (*(row.get(name) for name in LABELS), *(name in row for name in MEASURES))


def stages(rows: Sequence[Row]) -> Figure | None:
    """One panel, with its own scale, for each stage and length that several implementations were measured on."""
    groups = _groups(
        _with(rows, "implementation", "audio s", "s", batch=1),
        lambda row: (row.get("stage", "whole clip"), row["audio s"], _voiced(row)),
    )
    cases = {case: bars for case, bars in groups.items() if len(bars) > 1}
    if not cases:
        return None
    figure = Figure(figsize=(8, 0.5 + 0.9 * len(cases)), layout="constrained")
    colours = _colours(row["implementation"] for bars in cases.values() for row in bars)
    panels = figure.subplots(len(cases), 1, squeeze=False)[:, 0]
    for axes, ((stage, seconds, voiced), bars) in zip(panels, cases.items(), strict=True):
        names = [row["implementation"] for row in bars]
        drawn = axes.barh(names, [row["s"] for row in bars], color=[colours[name] for name in names])
        axes.bar_label(drawn, fmt="%.3g s", padding=3)
        axes.set_title(f"{stage}, {seconds:g} s of audio{', with a voice' * voiced}", loc="left")
        axes.invert_yaxis()
        axes.margins(x=0.12)
        axes.xaxis.set_visible(False)
        axes.spines["bottom"].set_visible(False)
    return figure


def throughput(rows: Sequence[Row]) -> Figure | None:
    """Real-time factor against the batch, for the most frequent length without a voice."""
    rows = [row for row in _with(rows, "implementation", "batch", "audio s", "real-time factor") if not _voiced(row)]
    if not rows:
        return None
    length = _most_frequent(rows, "audio s")
    figure = Figure(figsize=(5, 3), layout="constrained")
    axes = figure.subplots()
    of_length = [row for row in rows if row["audio s"] == length]
    _lines(axes, of_length, "batch", "real-time factor", "implementation")
    _logarithmic(axes, [row["batch"] for row in of_length], "clips at once")
    axes.set_yscale("log")
    for formatted in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
        formatted("{x:g}")
    axes.set_ylabel("seconds of work per second of audio")
    axes.set_title(f"{length:g} s clips", loc="left")
    return figure


def growth(rows: Sequence[Row]) -> Figure | None:
    """Milliseconds a token against context and batch, and work per second of audio against the clip's length."""
    steps = [row for row in _with(rows, "stage", "batch", "context", "ms/step") if "implementation" not in row]
    clips = [row for row in _with(rows, "audio s", "fine s per audio s") if not row.get("note")]
    if not steps or not clips:
        return None
    tokens = [row | {"ms/token": row["ms/step"] / row["batch"]} for row in steps]
    figure = Figure(figsize=(8, 2.8), layout="constrained")
    contexts, batches, lengths = figure.subplots(1, 3)
    _lines(contexts, _with(tokens, batch=1), "context", "ms/token", "stage")
    contexts.set(xlabel="positions in the cache", ylabel="ms per token", ylim=0)
    at_once = [row for row in tokens if row["context"] == _most_frequent(tokens, "context")]
    _lines(batches, at_once, "batch", "ms/token", "stage")
    _logarithmic(batches, [row["batch"] for row in at_once], "rows at once")
    batches.set(ylabel="ms per token", ylim=0)
    unit = " s per audio s"
    by_stage = [
        {"audio s": row["audio s"], "stage": column.removesuffix(unit), "s": row[column]}
        for row in clips for column in row if column.endswith(unit)
    ]  # fmt: skip
    _lines(lengths, by_stage, "audio s", "s", "stage")
    lengths.set(xlabel="seconds of audio", ylabel="seconds of work per second", ylim=0)
    return figure


def _with(rows: Iterable[Row], *columns: str, **values: object) -> list[Row]:
    """The rows that have these columns, and these values where they are given."""
    return [
        row for row in rows
        if all(row.get(name) is not None for name in columns) and all(row.get(k) == v for k, v in values.items())
    ]  # fmt: skip


def _voiced(row: Row) -> bool:
    return row.get("voice") in (True, "yes")


def _most_frequent(rows: Sequence[Row], column: str) -> Any:
    values = [row[column] for row in rows]
    return max(values, key=values.count)


def _groups(rows: Iterable[Row], key: Callable[[Row], Any]) -> dict[Any, list[Row]]:
    groups: dict[Any, list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return groups


def _colours(names: Iterable[str]) -> dict[str, str]:
    return dict(zip(dict.fromkeys(names), COLOURS, strict=False))


def _lines(axes: Axes, rows: Sequence[Row], x: str, y: str, by: str) -> None:
    groups = _groups(rows, lambda row: row[by])
    colours = _colours(groups)
    for label, line in groups.items():
        line = sorted(line, key=lambda row: row[x])
        axes.plot(
            [row[x] for row in line], [row[y] for row in line], "o-", color=colours[label], label=label, markersize=3
        )
    axes.legend()


def _logarithmic(axes: Axes, values: Iterable[int], label: str) -> None:
    """A batch axis: doublings are equally far apart, and the numbers are those measured."""
    axes.set_xscale("log", base=2)
    axes.set_xticks(sorted(set(values)), [str(value) for value in sorted(set(values))])
    axes.set_xlabel(label)


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw what there are results for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", default="small")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where results/ lies and plots/ will")
    options = parser.parse_args(arguments)
    rows, title = newest_rows(options.folder / "results", options.size)
    plots = options.folder / "plots"
    plots.mkdir(exist_ok=True)
    with mpl.rc_context(STYLE):
        for draw in (stages, throughput, growth):
            figure = draw(rows)
            if figure is None:
                print(f"{draw.__name__}: nothing was measured")
                continue
            figure.suptitle(title, x=0, ha="left", weight="bold")
            figure.savefig(plots / f"{draw.__name__}.svg", metadata={"Date": None})
            print(plots / f"{draw.__name__}.svg")


if __name__ == "__main__":
    main()
