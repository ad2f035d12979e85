"""The order in which the images of an epoch are drawn; pure. Imports no MXNet."""

import math

import numpy as np
from numpy.typing import NDArray


def balanced_order(labels: NDArray[np.int64], *, seed: int) -> NDArray[np.int64]:
    """Return the numbers of the images to draw, as many as there are images. All classes are drawn
    equally often, to one.

    An image is drawn again only after all others of its class. So some images of a large class are
    left out, and those of a small class come several times.
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
