"""The cosine scan in numpy float64, and rows close to a threshold."""

import numpy as np
import numpy.typing as npt

DIMS = [1, 3, 63, 65, 384, 768]
Rows = npt.NDArray[np.float32]
USABLE, ZERO, NAN, INFINITE, DENORMAL = range(5)


def documented_dot(x: Rows, y: Rows) -> npt.NDArray[np.float64]:
    """(n, m) dot products in the documented order: sixteen sums by position modulo 16, added in halves."""
    lanes = np.zeros((len(x), len(y), 16))
    for i in range(x.shape[1]):
        lanes[:, :, i % 16] += np.outer(x[:, i].astype(np.float64), y[:, i].astype(np.float64))
    while lanes.shape[2] > 1:
        half = lanes.shape[2] // 2
        lanes = lanes[:, :, :half] + lanes[:, :, half:]
    return lanes[:, :, 0]


def brute_force(train: Rows, eval: Rows, threshold: float) -> dict[tuple[int, int], float]:
    """Score of every (train row, eval row) at or above the threshold."""
    if not len(train) or not len(eval):
        return {}
    with np.errstate(all="ignore"):
        squares = [np.array([documented_dot(r[None], r[None])[0, 0] for r in side]) for side in (train, eval)]
        scores = np.clip(documented_dot(train, eval) / np.sqrt(np.outer(*squares)), -1.0, 1.0)
    usable = np.outer(*[usability(side) == USABLE for side in (train, eval)])
    with np.errstate(invalid="ignore"):
        found = np.argwhere(usable & (scores >= threshold))
    return {(int(i), int(j)): float(scores[i, j]) for i, j in found}


def usability(rows: Rows) -> npt.NDArray[np.uint8]:
    codes = np.full(len(rows), USABLE, np.uint8)
    with np.errstate(all="ignore"):
        norms = np.sqrt((rows.astype(np.float64) ** 2).sum(axis=1))
    codes[norms < np.finfo(np.float32).tiny] = DENORMAL
    codes[(rows == 0).all(axis=1)] = ZERO
    codes[np.isinf(rows).any(axis=1)] = INFINITE
    codes[np.isnan(rows).any(axis=1)] = NAN
    return codes


def beside(rng: np.random.Generator, row: Rows, cosine: float) -> Rows:
    """A row of about the given cosine to `row`."""
    unit = row.astype(np.float64) / np.linalg.norm(row.astype(np.float64))
    across = rng.standard_normal(len(row))
    across -= unit * (unit @ across)
    across /= max(np.linalg.norm(across), 1e-300)
    return (cosine * unit + np.sqrt(max(0.0, 1 - cosine**2)) * across).astype(np.float32)


def sides(seed: int, dim: int, threshold: float, n: int = 30, m: int = 20) -> tuple[Rows, Rows]:
    """Train and eval rows with pairs within 1e-7 to 1e-4 of the threshold, duplicates and bad rows."""
    rng = np.random.default_rng(seed)
    eval = rng.standard_normal((m, dim)).astype(np.float32)
    train = rng.standard_normal((n, dim)).astype(np.float32)
    for i in range(0, n, 2):
        gap = rng.choice([-1, 1]) * 10.0 ** rng.uniform(-7, -4)
        train[i] = beside(rng, eval[rng.integers(m)], float(np.clip(threshold + gap, -1, 1)))
    train[1], train[3], eval[1] = eval[2], train[5], eval[4]
    train *= 10.0 ** rng.integers(-18, 19, (n, 1)).astype(np.float32)
    train[15] = -train[17]  # another row of the same square
    train[7] = 0
    train[9, 0], train[11, -1], train[13] = np.nan, np.inf, 0
    train[13, 0] = 1e-42
    eval[3, 0], eval[5], eval[7, -1] = -np.inf, -0.0, np.nan
    return train, eval
