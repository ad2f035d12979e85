"""In which order the images of an epoch are drawn. Imports no MXNet."""

import math

import numpy as np
from numpy.typing import NDArray


def balanced_order(labels: NDArray[np.int64], *, seed: int) -> NDArray[np.int64]:
    """Return as many images as there are, by number, with all classes equally often (to one).

    None is drawn again before all of its class were: of a large class some are left out, and of
    a small one they come several times.
    """
    random = np.random.default_rng(seed)
    classes = random.permutation(np.unique(labels))
    shares = np.full(len(classes), len(labels) // len(classes))
    shares[: len(labels) % len(classes)] += 1
    drawn = [
        _drawn(np.flatnonzero(labels == label), share, random)
        for label, share in zip(classes, shares, strict=True)
    ]
    return random.permutation(np.concatenate(drawn))


def _drawn(
    members: NDArray[np.int64], count: int, random: np.random.Generator
) -> NDArray[np.int64]:
    rounds = [random.permutation(members) for _ in range(math.ceil(count / len(members)))]
    drawn: NDArray[np.int64] = np.concatenate(rounds)[:count]
    return drawn
