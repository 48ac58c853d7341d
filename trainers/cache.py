"""Backbones and features on disk, found by fingerprint, so that nothing is trained or extracted twice.

Layout, one folder an entry:

    <root>/<fingerprint>/backbone.safetensors + backbone.json       the result of stage 1
    <root>/<fingerprint>/features-<key>.safetensors + .json         what stage 2 needs of it
    <root>/<fingerprint>/checkpoint.safetensors + checkpoint.json   an unfinished stage 1
    <root>/<fingerprint>/lease                                      held (flock) by whoever trains it

A file is written under a temporary name, synced and renamed; its .json, which holds the SHA-256, follows, so that a
pair is either whole or absent. A pair that does not match is removed with a warning and made again.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load as load_tensors
from safetensors.torch import save as dump_tensors
from torch import Tensor

logger = logging.getLogger(__name__)

Manifest = dict[str, Any]


@dataclass(frozen=True)
class CacheEntry:
    """One backbone in the cache; sizes in bytes, `used` in seconds since the epoch."""

    fingerprint: str
    complete: bool
    backbone_bytes: int
    features_bytes: int
    used: float
    manifest: Manifest


class Cache:
    """Content-addressed store of stage-1 results. Safe for many processes on one file system."""

    def __init__(self, root: Path, *, max_bytes: int | None = None) -> None:
        self.root = root
        self.max_bytes = max_bytes

    def load(self, fingerprint: str, name: str) -> tuple[dict[str, Tensor], Manifest] | None:
        """Reads a pair and checks its hash; None when it is absent or damaged (then it is removed)."""
        path, manifest_path = self._pair(fingerprint, name)
        try:
            manifest = json.loads(manifest_path.read_bytes())
            data = path.read_bytes()
            if hashlib.sha256(data).hexdigest() != manifest["sha256"]:
                raise ValueError("its content does not match its SHA-256")
            tensors = load_tensors(data)
        except FileNotFoundError:
            return None
        except Exception as error:  # a damaged file can fail in any way; it is only a cache, so it is made again
            logger.warning("%s is damaged (%s) and will be made again", path, error)
            self.remove(fingerprint, name)
            return None
        manifest_path.touch()
        return tensors, manifest["manifest"]

    def publish(self, fingerprint: str, name: str, tensors: Mapping[str, Tensor], manifest: Manifest) -> None:
        """Writes a pair so that readers see all of it or nothing, then trims the cache to its size."""
        path, manifest_path = self._pair(fingerprint, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        data = dump_tensors({key: value.detach().cpu().contiguous() for key, value in tensors.items()})
        record = {"sha256": hashlib.sha256(data).hexdigest(), "manifest": manifest}
        manifest_path.unlink(missing_ok=True)  # between the two renames the pair counts as absent
        _write_atomically(path, data)
        _write_atomically(manifest_path, json.dumps(record).encode())
        if self.max_bytes is not None:
            self.trim(self.max_bytes, keep=fingerprint)

    def remove(self, fingerprint: str, name: str) -> None:
        """Removes a pair; absent ones are fine."""
        path, manifest_path = self._pair(fingerprint, name)
        manifest_path.unlink(missing_ok=True)
        path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def lease(self, fingerprint: str) -> Iterator[None]:
        """Held while a backbone is made; a second worker waits here and then finds it. Ends with its process."""
        folder = self.root / fingerprint
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "lease").open("a") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def entries(self) -> list[CacheEntry]:
        """All entries, last used first."""
        found = [self._entry(folder) for folder in self.root.glob("*") if folder.is_dir()]
        return sorted(found, key=lambda entry: entry.used, reverse=True)

    def clear(self, fingerprint: str | None = None) -> int:
        """Removes one entry, or all; returns the bytes freed."""
        folders = [self.root / fingerprint] if fingerprint else [f for f in self.root.glob("*") if f.is_dir()]
        freed = sum(_size(folder.glob("*")) for folder in folders)
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
        return freed

    def trim(self, max_bytes: int, *, keep: str | None = None) -> None:
        """Evicts the longest unused until the cache fits: features first (seconds to make), then whole backbones."""
        entries = self.entries()
        total = sum(entry.backbone_bytes + entry.features_bytes for entry in entries)
        oldest_first = [entry for entry in reversed(entries) if entry.fingerprint != keep]
        for entry in oldest_first:
            if total <= max_bytes:
                return
            for path in (self.root / entry.fingerprint).glob("features-*"):
                path.unlink(missing_ok=True)
            total -= entry.features_bytes
        for entry in oldest_first:
            if total <= max_bytes:
                return
            shutil.rmtree(self.root / entry.fingerprint, ignore_errors=True)
            total -= entry.backbone_bytes

    def _pair(self, fingerprint: str, name: str) -> tuple[Path, Path]:
        folder = self.root / fingerprint
        return folder / f"{name}.safetensors", folder / f"{name}.json"

    def _entry(self, folder: Path) -> CacheEntry:
        manifest_path = folder / "backbone.json"
        try:
            manifest = json.loads(manifest_path.read_bytes())["manifest"]
            used = manifest_path.stat().st_mtime
        except (OSError, ValueError, KeyError):
            manifest, used = {}, folder.stat().st_mtime if folder.exists() else time.time()
        features = _size(folder.glob("features-*"))
        return CacheEntry(
            fingerprint=folder.name,
            complete=bool(manifest),
            backbone_bytes=_size(folder.glob("*")) - features,
            features_bytes=features,
            used=used,
            manifest=manifest,
        )


def _size(paths: Iterator[Path]) -> int:
    total = 0
    for path in paths:
        with contextlib.suppress(FileNotFoundError):  # another process may have trimmed it
            total += path.stat().st_size
    return total


def _write_atomically(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as handle:
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
