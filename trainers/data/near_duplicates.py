"""Images that look alike though their bytes differ (re-encoded, scaled): a perceptual hash, compared between splits.

The hash is that of the DCT (Zauner 2010, "Implementation and benchmarking of perceptual image hash functions"): the
lowest 8 x 8 frequencies of the grey image at 32 x 32 without the constant ones, each above or below their median.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]  # (N,)
Pixels = npt.NDArray[np.uint8]  # (N, C, H, W)

NEAR = 4  # of 64 bits; docs/data.md has the rates of matches and false alarms
_SIDE, _FREQUENCIES = 32, 8
_LEAST_CONTRAST = 2.0  # standard deviation of 0..255; a flat image has no frequencies but noise
_BANDS = ((0, 13), (13, 26), (26, 39), (39, 52), (52, 64))  # of NEAR + 1 bands one at least has no different bit
_PIXELS_AT_ONCE = 2**22
_MOST_CANDIDATES = 1024  # that an image is compared with in a band


@dataclass(frozen=True, eq=False)
class PerceptualHashes:
    """The hashes of images, and which of them say anything: those of flat images do not."""

    bits: Hashes
    telling: npt.NDArray[np.bool_]  # (N,)


def perceptual_hashes(pixels: Pixels) -> PerceptualHashes:
    """The hash of each image, whatever its size and number of channels."""
    step = max(1, _PIXELS_AT_ONCE // max(1, pixels.shape[2] * pixels.shape[3]))
    parts = [_hash_chunk(pixels[start : start + step]) for start in range(0, len(pixels), step)]
    return PerceptualHashes(
        np.concatenate([np.empty(0, dtype=np.uint64), *(part.bits for part in parts)]),
        np.concatenate([np.empty(0, dtype=np.bool_), *(part.telling for part in parts)]),
    )


def nearest_matches(held: Hashes, train: Hashes) -> npt.NDArray[np.int64]:
    """For each of `held` (B,) the position of one of `train` (A,) within NEAR bits, or -1.

    Two hashes within NEAR bits agree in one of the bands, so only those are compared: of a band at most
    _MOST_CANDIDATES an image, so that many images of one look cost no more.
    """
    found = np.full(len(held), -1, dtype=np.int64)
    for start, end in _BANDS:
        open_rows = np.flatnonzero(found < 0)
        found[open_rows] = _matches_in_band(held[open_rows], train, start, end)
    return found


def _matches_in_band(held: Hashes, train: Hashes, start: int, end: int) -> npt.NDArray[np.int64]:
    order = np.lexsort((train, _band(train, start, end)))
    values, wanted = _band(train[order], start, end), _band(held, start, end)
    first = np.searchsorted(values, wanted, "left")
    count = np.minimum(np.searchsorted(values, wanted, "right") - first, _MOST_CANDIDATES)
    found = np.full(len(held), -1, dtype=np.int64)
    for step in range(int(count.max(initial=0))):
        rows = np.flatnonzero((count > step) & (found < 0))
        places = order[first[rows] + step]
        near = np.bitwise_count(held[rows] ^ train[places]) <= NEAR
        found[rows[near]] = places[near]
    return found


def _band(hashes: Hashes, start: int, end: int) -> Hashes:
    found: Hashes = (hashes >> np.uint64(start)) & np.uint64(2 ** (end - start) - 1)
    return found


def _hash_chunk(pixels: Pixels) -> PerceptualHashes:
    weights = np.array([0.299, 0.587, 0.114] if pixels.shape[1] == 3 else [1.0], dtype=np.float32)
    grey = np.einsum("nchw,c->nhw", pixels, weights, dtype=np.float32)
    small = _means(grey.shape[1]) @ grey @ _means(grey.shape[2]).T  # (n, 32, 32)
    waves = _waves()
    lowest = (waves @ small @ waves.T).reshape(len(pixels), -1)  # (n, 64)
    bits = lowest > np.median(lowest, axis=1, keepdims=True)
    hashes: Hashes = np.packbits(bits, axis=1).view(np.uint64)[:, 0]
    return PerceptualHashes(hashes, small.std(axis=(1, 2)) >= _LEAST_CONTRAST)


def _means(size: int) -> npt.NDArray[np.float32]:
    """(32, size): the mean of each of 32 equal stretches of a side of `size` pixels."""
    ends = np.arange(_SIDE + 1) * size / _SIDE
    pixel = np.arange(size)
    inside = np.minimum(ends[1:, None], pixel + 1) - np.maximum(ends[:-1, None], pixel)
    weights = np.maximum(inside, 0)
    found: npt.NDArray[np.float32] = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return found


def _waves() -> npt.NDArray[np.float32]:
    """(8, 32): cosines of 1 to 8 half periods over 32 pixels, the DCT-II without its constant."""
    phase = np.pi * (2 * np.arange(_SIDE) + 1) / (2 * _SIDE)
    angles = (np.arange(1, _FREQUENCIES + 1)[:, None] * phase[None]).astype(np.float32)
    return np.cos(angles)
