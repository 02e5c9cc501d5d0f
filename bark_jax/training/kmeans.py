"""k-means on SciPy's `vq`: the same numbers for the same points and seed, on the same machine.

SciPy's own `kmeans2` holds the distances of all points to all clusters (10 GB for 10 000 semantic tokens), and its
k-means++ takes a minute for 8192 points and 200 clusters: chunks and the seeding are here.

Axes: F points, D dimensions, V clusters.
"""

import numpy as np
import numpy.typing as npt
from scipy.cluster.vq import vq  # type: ignore[import-untyped]

from bark_jax.stages.progress import Progress

ROUNDS = 40  # at most
GOOD_ENOUGH = 1e-4  # a round that lowers the mean distance by a smaller share is the last
_SEEDING = 2**15  # points among which the first centroids are drawn
_CHUNK = 2**13  # points whose distances are in memory at once

Floats = npt.NDArray[np.float32]


def kmeans(points: Floats, count: int, rng: np.random.Generator, progress: Progress | None = None) -> Floats:
    """Centroids [V, D] of `count` clusters of points [F, D], F ≥ V. An empty cluster moves to a far point."""
    some = rng.permutation(len(points))[: max(_SEEDING, count)]
    centroids = _spread(points[some], count, rng)
    before = np.inf
    for done in range(ROUNDS):
        if progress:
            progress(done, ROUNDS)
        cluster, distance = nearest(points, centroids)
        centroids = _means(points, cluster, distance, count)
        mean = float(distance.mean())
        if mean >= (1 - GOOD_ENOUGH) * before:
            break
        before = mean
    if progress:
        progress(ROUNDS, ROUNDS)
    return centroids


def nearest(points: Floats, centroids: Floats) -> tuple[npt.NDArray[np.int32], Floats]:
    """The centroid nearest to each point, int32 [F], and the squared distance, float32 [F]."""
    cluster, distance = np.empty(len(points), np.int32), np.empty(len(points), np.float32)
    for start in range(0, len(points), _CHUNK):
        here = slice(start, start + _CHUNK)
        cluster[here], distance[here] = vq(points[here], centroids)
    return cluster, np.square(distance)


def _means(points: Floats, cluster: npt.NDArray[np.int32], distance: Floats, count: int) -> Floats:
    """The mean of every cluster; for those without points, the points that are farthest from theirs."""
    sizes = np.bincount(cluster, minlength=count)
    sums = np.stack([np.bincount(cluster, weights=column, minlength=count) for column in points.T], axis=1)
    means = (sums / np.maximum(sizes, 1)[:, None]).astype(np.float32)
    empty = np.flatnonzero(sizes == 0)
    if len(empty):
        means[empty] = points[np.argsort(distance, kind="stable")[::-1][: len(empty)]]
    return means


def _spread(points: Floats, count: int, rng: np.random.Generator) -> Floats:
    """k-means++: each next point is drawn in proportion to its squared distance from the nearest one before."""
    squares = np.square(points).sum(axis=1)
    chosen = [int(rng.integers(len(points)))]
    distance = np.full(len(points), np.inf, np.float32)
    for _ in range(count - 1):
        last = chosen[-1]
        distance = np.minimum(distance, np.maximum(0, squares - 2 * (points @ points[last]) + squares[last]))
        reached = np.cumsum(distance, dtype=np.float64)
        at = np.searchsorted(reached, rng.random() * reached[-1], side="right")
        chosen.append(min(int(at), len(points) - 1))  # all alike: the last
    return points[chosen]
