"""A cache of backbones and features on disk, by fingerprint, so that nothing is trained or extracted twice.

Layout, one folder per entry:

    <root>/<fingerprint>/backbone.safetensors + backbone.json       the result of stage 1
    <root>/<fingerprint>/features-<key>.safetensors + .json         its features, for stage 2
    <root>/<fingerprint>/checkpoint.safetensors + checkpoint.json   an unfinished stage 1
    <root>/<fingerprint>/scores-<key>.safetensors + .json           its post-hoc scores
    <root>/<fingerprint>/lease                                      held (flock) by the worker that trains it
    <root>/<fingerprint>/users                                      held, shared, by every job on it

A file is written under a temporary name, synced and renamed. The tensors come first, under the one of two file names
that is free; then the .json, with their name and SHA-256, replaces the old one. So a killed writer leaves the old pair
or the new one. A pair that does not match is removed with a warning and made again.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import logging
import os
import shutil
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from safetensors.torch import load as load_tensors
from safetensors.torch import save as dump_tensors
from torch import Tensor

from trainers.errors import ConfigError

logger = logging.getLogger(__name__)

Manifest = dict[str, Any]
MISFIT = (KeyError, TypeError, ValueError, RuntimeError, IndexError, AttributeError)
"""Exceptions that an intact file of another release can cause when it is used."""
_LOCKLESS_ERRORS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)  # of file systems without locks
_SLOTS = ("", "-2")  # of tensor files: the next write takes the one that the .json does not name


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
        record_path = self._record(fingerprint, name)
        try:
            record = json.loads(record_path.read_bytes())
            data = self._tensors(fingerprint, record.get("file", f"{name}.safetensors")).read_bytes()
            if hashlib.sha256(data).hexdigest() != record["sha256"]:
                raise ValueError("its content does not match its SHA-256")
            tensors, manifest = load_tensors(data), record["manifest"]
        except FileNotFoundError:
            return None
        except (OSError, MemoryError):  # possibly temporary: it does not show that the file is bad
            raise
        except Exception as error:  # a damaged file can raise anything; the cache makes it again
            self.reject(fingerprint, name, error)
            return None
        with contextlib.suppress(OSError):  # a full disk or another process's trim; the tensors are already read
            record_path.touch()
        return tensors, manifest

    def reject(self, fingerprint: str, name: str, reason: object) -> None:
        """Removes an unusable pair, with a warning that says why."""
        logger.warning("%s is damaged (%s) and will be made again", self._record(fingerprint, name), reason)
        self.remove(fingerprint, name)

    def publish(self, fingerprint: str, name: str, tensors: Mapping[str, Tensor], manifest: Manifest) -> None:
        """Writes a pair atomically, then trims the cache to its size."""
        record_path = self._record(fingerprint, name)
        record_path.parent.mkdir(parents=True, exist_ok=True)
        data = dump_tensors({key: value.detach().cpu().contiguous() for key, value in tensors.items()})
        before = _named_file(record_path)
        file = next(slot for slot in (f"{name}{end}.safetensors" for end in _SLOTS) if slot != before)
        record = {"sha256": hashlib.sha256(data).hexdigest(), "file": file, "manifest": manifest}
        _write_atomically(self._tensors(fingerprint, file), data)
        _write_atomically(record_path, json.dumps(record).encode())
        if before is not None:
            self._tensors(fingerprint, before).unlink(missing_ok=True)
        if self.max_bytes is not None:
            self.trim(self.max_bytes, keep=fingerprint)

    def remove(self, fingerprint: str, name: str) -> None:
        """Removes a pair, if it exists."""
        self._record(fingerprint, name).unlink(missing_ok=True)
        for end in _SLOTS:
            self._tensors(fingerprint, f"{name}{end}.safetensors").unlink(missing_ok=True)

    def sweep(self) -> int:
        """Removes the temporary files of killed writers of this host; returns how many."""
        left = [path for path in self.root.glob(f"*/.*.{socket.gethostname()}.*") if _writer_is_gone(path)]
        for path in left:
            path.unlink(missing_ok=True)
        return len(left)

    @contextlib.contextmanager
    def lease(self, fingerprint: str) -> Iterator[bool]:
        """Holds the lease for making a backbone; yields False if another worker has it. Ends with the process."""
        handle = _locked(self.root / fingerprint / "lease", fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            yield handle is not None
        finally:
            if handle is not None:
                handle.close()

    @contextlib.contextmanager
    def use(self, fingerprint: str) -> Iterator[None]:
        """Protects this backbone from the size limit and from `clear`."""
        handle = _locked(self.root / fingerprint / "users", fcntl.LOCK_SH)
        try:
            yield
        finally:
            if handle is not None:
                handle.close()

    def entries(self) -> list[CacheEntry]:
        """All entries, most recently used first."""
        found = [self._entry(folder) for folder in self.root.glob("*") if folder.is_dir()]
        return sorted(found, key=lambda entry: entry.used, reverse=True)

    def clear(self, fingerprint: str) -> int | None:
        """Removes an entry; returns the bytes freed, or None if a job is using it."""
        folder = self.root / fingerprint
        freed = _size(folder.glob("*"))
        with self._unused(fingerprint) as free:
            if not free:
                return None
            shutil.rmtree(folder, ignore_errors=True)
        return freed

    def trim(self, max_bytes: int, *, keep: str | None = None) -> None:
        """Evicts least recently used entries until the cache fits: first features (seconds to make), then backbones.

        Keeps `keep` and what jobs are using.
        """
        entries = self.entries()
        total = sum(entry.backbone_bytes + entry.features_bytes for entry in entries)
        oldest_first = [entry for entry in reversed(entries) if entry.fingerprint != keep]
        for pattern in ("features-*", "*"):
            for entry in oldest_first:
                if total <= max_bytes:
                    return
                total -= self._evict(entry.fingerprint, pattern)

    def _evict(self, fingerprint: str, pattern: str) -> int:
        """Removes files of an unused entry, and its folder if then empty; returns the bytes freed."""
        folder = self.root / fingerprint
        with self._unused(fingerprint) as free:
            if not free:
                return 0
            freed = _size(folder.glob(pattern))
            for path in folder.glob(pattern):
                path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # not empty
                folder.rmdir()
        return freed

    @contextlib.contextmanager
    def _unused(self, fingerprint: str) -> Iterator[bool]:
        """Yields True if no job uses or trains an entry, and keeps others from starting to."""
        held = [_locked(self.root / fingerprint / name, fcntl.LOCK_EX | fcntl.LOCK_NB) for name in ("users", "lease")]
        try:
            yield None not in held
        finally:
            for handle in held:
                if handle is not None:
                    handle.close()

    def _record(self, fingerprint: str, name: str) -> Path:
        return self.root / fingerprint / f"{name}.json"

    def _tensors(self, fingerprint: str, file: str) -> Path:
        return self.root / fingerprint / Path(file).name  # a damaged record cannot name another folder

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


def _locked(path: Path, operation: int) -> IO[str] | None:
    """Opens or makes the file at `path` and locks it; with LOCK_NB None when another process holds it.

    Raises ConfigError if the file system has no locks.
    """
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            handle = path.open("a+")  # NFS needs read access for a shared lock and write access for an exclusive one
        except FileNotFoundError:  # another process just evicted its folder
            continue
        try:
            fcntl.flock(handle, operation)
            if os.path.samestat(os.fstat(handle.fileno()), path.stat()):
                return handle
        except BlockingIOError:
            handle.close()
            return None
        except FileNotFoundError:
            pass
        except OSError as error:
            handle.close()
            raise _no_locks(path, error) if error.errno in _LOCKLESS_ERRORS else error from error
        handle.close()  # removed between opening and locking: others would lock a new file


def _no_locks(path: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"the file system of {path.parent} has no file locks ({error.strerror}), so nothing would keep two jobs from "
        "training one backbone, or the cache's limit from removing what a job uses; put the cache on a local disk "
        "(--home, or --cache of the trainer)"
    )


def _size(paths: Iterator[Path]) -> int:
    total = 0
    for path in paths:
        with contextlib.suppress(FileNotFoundError):  # another process may have trimmed it
            total += path.stat().st_size
    return total


def _named_file(record_path: Path) -> str | None:
    """The file that a record names; None when there is no readable record."""
    try:
        named = json.loads(record_path.read_bytes()).get("file", f"{record_path.stem}.safetensors")
    except (OSError, ValueError, AttributeError):
        return None
    return Path(str(named)).name


def _writer_is_gone(temporary: Path) -> bool:
    """True if the process named at the end of a temporary file's name has ended."""
    owner = temporary.name.rpartition(".")[2]
    return owner.isdigit() and not Path("/proc", owner).exists() and Path("/proc/self").exists()


def _write_atomically(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}")
    try:
        with temporary.open("wb") as handle:
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
