"""What the compilers for accelerators make of the programs, where they are installed: nothing runs on a device.

They are in the extra `compiled`. A process each, since the compilers read the environment when they are loaded.
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import hlo, targets
from benchmarks.fitting import largest_batches

COMPILERS = {"v5e": "libtpu", "h100": "jax_cuda12_plugin"}
BATCH = {"v5e": "2", "h100": "1"}  # a TPU's tiles make more of one row of the tiny model than of two
KERNELS = {"v5e": 90, "h100": 35}  # of a semantic step of the tiny model, at most
MODULE = """HloModule jit_decode, input_output_alias={ {0}: (1, {}, may-alias) }

%fused (p: bf16[4,8]) -> f32[4] {
  %p = bf16[4,8]{1,0} parameter(0)
  %wide = f32[4,8]{1,0} convert(%p)
  ROOT %dot.1 = f32[4]{0} dot(%wide, %wide), lhs_contracting_dims={1}, rhs_contracting_dims={1}
}

%inner (q: (s32[])) -> (s32[]) {
  %q = (s32[]) parameter(0)
  %a = s32[] get-tuple-element(%q), index=0
  %b = s32[] add(%a, %a)
  ROOT %t = (s32[]) tuple(%b)
}

%body (s: (s32[], bf16[4,8])) -> (s32[], bf16[4,8]) {
  %s = (s32[], bf16[4,8]{1,0}) parameter(0)
  %cache = bf16[4,8]{1,0} get-tuple-element(%s), index=1
  %copy.1 = bf16[4,8]{0,1} copy(%cache)
  %copy-start.1 = (bf16[4,8]{1,0:S(1)}, bf16[4,8]{1,0}, u32[]) copy-start(%cache)
  %copy-done.1 = bf16[4,8]{1,0:S(1)} copy-done(%copy-start.1)
  %fusion.1 = f32[4]{0} fusion(%copy.1), kind=kLoop, calls=%fused
  %loop = (s32[]) while(%n), condition=%c, body=%inner, backend_config={"known_trip_count":{"n":"3"}}
  ROOT %t.2 = (s32[], bf16[4,8]{1,0}) tuple(%n, %cache)
}

ENTRY %main (x: bf16[4,8]) -> bf16[4,8] {
  %x = bf16[4,8]{1,0} parameter(0)
  %w = (s32[], bf16[4,8]{1,0}) while(%x), condition=%c, body=%body
  ROOT %r = bf16[4,8]{1,0} get-tuple-element(%w), index=1
}
"""


def test_a_step_is_counted() -> None:
    """A copy, a fusion and three passes of an inner loop; what moves between memories of a chip is no copy."""
    module = hlo.parse(MODULE)
    step = hlo.step(module, cache=(4, 8))
    assert step == hlo.Step(kernels=5, transfers=1, copies=1, cache_copies=1, float32_products=1, collectives=0)
    assert hlo.has_type(module, "bf16")
    assert not hlo.has_type(module, "f64")


def test_the_largest_batch_is_on_the_line_through_two() -> None:
    """1 GB for the program and its network, 0.1 GB for each clip; the other three networks of large take 1.35 GB."""
    case = {"target": "v5e", "size": "large", "program": "semantic"}
    rows = [case | {"batch": batch, "in all MB": 1000 + 100 * batch} for batch in (64, 1)]
    (row,) = largest_batches([*rows, case | {"program": "codec", "batch": 1, "note": "failed"}])
    assert row["MB a clip"] == pytest.approx(100)
    assert row["offloaded"] == (0.95 * 16 * 2**30 - 1e9) // 1e8
    assert 0 < row["largest batch"] < row["offloaded"]


@pytest.mark.slow
@pytest.mark.parametrize("target", COMPILERS)
def test_a_decoding_step_has_the_structure_it_should_have(target: str) -> None:
    if importlib.util.find_spec(COMPILERS[target]) is None:
        pytest.skip(f"the compiler for {target} ({COMPILERS[target]}) is not installed: pip install -e '.[compiled]'")
    command = [
        sys.executable,
        "-m",
        "benchmarks.compiled",
        "--case",
        target,
        "tiny",
        "semantic",
        BATCH[target],
        "1",
        "1",
    ]
    root = Path(__file__).parents[1]
    made = subprocess.run(command, env=os.environ | targets.ENVIRONMENT, cwd=root, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    row = json.loads(made.stdout.splitlines()[-1])
    assert row["cache copies"] == row["float64"] == row["float32 products"] == 0
    assert row["aliased MB"] >= row["cache MB"], "the donated cache is not reused"
    assert row["temporaries MB"] < row["cache MB"], "there is a second cache"
    assert row["kernels"] <= KERNELS[target], "the step has more kernels than it had"
