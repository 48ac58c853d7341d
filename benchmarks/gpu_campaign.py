"""One command for a borrowed GPU: does what is due in the order of its worth, until the minutes are over.

    python -m benchmarks.gpu_campaign DATA --minutes 9 --out OUT

It runs the GPU tests; the step and its ways; 1 to 8 backbones at once; heads; the paper's backbones, several at a time;
and `tuner launch` if its packages are there. Each piece is a process of its own and a line of `lines.jsonl`. A piece
that has a line is not done again; a piece that is cut is done again, and stage 1 goes on from checkpoints. The state
lies in --keep; OUT gets a copy of what is worth keeping after each piece, and may be emptied before each command. On
a fresh machine, give it the `lines.jsonl` of an earlier OUT in --keep, and finished pieces stay finished.

DATA has test.parquet, and train.parquet or train_if10.parquet of CIFAR-100-LT, or both: with a `first_n` cut and the
customary `seed0` draw in two folders, `mkdir DATA; cp FIRST_N/train.parquet SEED0/train_if10.parquet
SEED0/test.parquet DATA` makes it. Without DATA, pieces that need images are not run.

Exit codes: 0 all is done; 75 the same command goes on; 2 something never could be done, and the last lines say what.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import torch

from benchmarks.gpu_campaign_images import NoImagesError, link_images
from benchmarks.gpu_campaign_paper import DONE, NOT_YET, WRONG, scale_and_plan
from benchmarks.gpu_campaign_pieces import PIECES, ROOT, Piece, Situation, records
from benchmarks.gpu_campaign_tables import last_line, tables
from benchmarks.paper_campaign import Campaign
from benchmarks.paper_lines import NAME, Line, Lines
from benchmarks.paper_table import states
from benchmarks.record import FOLDER, hardware, versions
from trainers.errors import TrainerError

KEEP, TOYS = Path("~/.cache/tuner-gpu-campaign"), Path("~/.cache/tuner-gpu-campaign-toy")
CLOSING = 0.15  # minutes for the tables and the last copies
GRACE = 0.25  # minutes beyond the last, for a piece that stops by itself
FLOOR = 2.0  # minutes that a piece gets at least before it counts as hung
LONGER = 3.0  # times what it should take: then too
_TERMINATED = 20.0  # seconds to end in, when asked to


class BusyError(Exception):
    """Another campaign is at work in the folder."""


def main(arguments: list[str] | None = None) -> int:
    """Does what is due, or lists it. Returns 0 when all is done, 75 when more is due, 2 when some never could be."""
    asked = _parser().parse_args(arguments)
    if not asked.toy and not asked.list and not torch.cuda.is_available():
        print("no GPU here: nothing was done; --toy runs the code on a CPU, --list says what is due", file=sys.stderr)
        return WRONG
    keep = (asked.keep or (TOYS if asked.toy else KEEP)).expanduser().resolve()
    keep.mkdir(parents=True, exist_ok=True)
    try:
        with _alone(keep) as lock:
            if asked.data is not None:
                link_images(asked.data.expanduser(), keep)
            call = Call(keep, asked.out, toy=asked.toy, minutes=asked.minutes, only=asked.only, packs=asked.packs)
            return call.listed() if asked.list else call.run(lock)
    except BusyError as error:
        print(error, file=sys.stderr)
        return NOT_YET
    except (NoImagesError, TrainerError) as error:
        print(error, file=sys.stderr)
        return WRONG


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_campaign", description=__doc__.partition("\n")[0])
    parser.add_argument("data", nargs="?", type=Path, help="folder with CIFAR-100-LT's parquet files")
    parser.add_argument("--minutes", type=float, default=9.0, help="of this call; nothing is begun that takes longer")
    parser.add_argument("--out", type=Path, required=True, help="gets copies of lines, tables and logs")
    parser.add_argument("--keep", type=Path, help=f"the campaign's own state, gigabytes; by default {KEEP}")
    parser.add_argument("--only", nargs="+", choices=[piece.name for piece in PIECES], help="these pieces alone")
    parser.add_argument("--packs", action="store_true", help="copy packs of features too, 33 MB a honest backbone")
    parser.add_argument("--list", action="store_true", help="only say what is done and due, and how long it takes")
    parser.add_argument("--toy", action="store_true", help="all of it on a CPU in two minutes, for tests")
    return parser


@contextlib.contextmanager
def _alone(keep: Path) -> Iterator[IO[str]]:
    """Holds the folder's lock, which a piece inherits and so holds until it ends. Raises BusyError."""
    with (keep / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(f"another campaign is at work in {keep}; wait for its end or name another --keep") from None
        yield lock


class Call:
    """One call of the command."""

    def __init__(
        self, keep: Path, out: Path, *, toy: bool, minutes: float, only: Sequence[str] | None, packs: bool
    ) -> None:
        self._began = time.monotonic()
        self._keep, self._out, self._toy, self._minutes, self._packs = keep, out, toy, minutes, packs
        self._key = "toy" if toy else hardware()["gpu"] or "no GPU"
        self._wanted = [piece for piece in PIECES if only is None or piece.name in only]
        self._said: list[str] = []  # why something could never be done
        self._due = False

    def run(self, lock: IO[str]) -> int:
        """Does what fits, each piece once; prints the tables."""
        for piece in self._wanted:
            lacking = piece.lacking(self._situation())
            if lacking is not None:
                print(f"{piece.name}: not run: {lacking}", flush=True)
            elif not self._is_done(piece) and self._fits(piece):
                self._do(piece, lock)
                self._publish()
        self._publish()
        print((self._out / "tables.md").read_text())
        for said in self._said:
            print(said, file=sys.stderr)
        print(f"{self._spent:.1f} minutes" + ("; the same command goes on" if self._due else ""), flush=True)
        return WRONG if self._said else NOT_YET if self._due else DONE

    def listed(self) -> int:
        """Prints each piece with its minutes."""
        for piece in self._wanted:
            lacking, line = piece.lacking(self._situation()), self._line(piece)
            if lacking is not None:
                print(f"{piece.name}: not run: {lacking}")
            elif piece.name == "paper":
                self._list_paper()
            elif line is not None and "failed" in line:
                print(f"{piece.name}: failed: {line['failed']}")
            else:
                minutes = f"about {self._needed(piece):.1f} min"
                print(f"{piece.name}: " + ("done" if self._is_done(piece) else "due") + f", {minutes}")
        return DONE

    def _list_paper(self) -> None:
        size, plan = scale_and_plan(self._keep, toy=self._toy)
        situation = self._situation()
        campaign = Campaign(size, out=self._keep, cache=self._keep / "cache", minutes=self._minutes)
        print(f"paper: {situation.at_once} backbones at once, steps {situation.way}; minutes of each as if alone")
        for backbone in plan:
            pieces = (f"{name.rpartition(' ')[2]} {state}" for name, state in states(campaign, [backbone]))
            about = f"{backbone.task.selection}, {backbone.stage1.precision}"
            print(f"  {backbone.key(campaign.device)} ({about}): {'; '.join(pieces)}")

    def _do(self, piece: Piece, lock: IO[str]) -> None:
        """Runs a piece to its end, or until it hangs or the minutes are over."""
        left, limit = self._left, max(FLOOR, LONGER * self._needed(piece))
        print(f"{piece.name} ...", flush=True)
        for folder in piece.afresh:
            shutil.rmtree(self._keep / folder, ignore_errors=True)
        began, wall = time.monotonic(), time.time()
        code = self._process(piece, lock, seconds=60 * (left + GRACE if piece.can_be_cut else min(left, limit)))
        seconds = round(time.monotonic() - began, 1)
        if piece.can_be_cut:
            self._judge_paper(code)
        else:
            self._write(piece, code, seconds, since=wall, hung=limit <= left)
        print(f"{piece.name}: {seconds} s, exit code {code}", flush=True)

    def _process(self, piece: Piece, lock: IO[str], *, seconds: float) -> int | None:
        """The exit code of a piece's process; None if its time was over."""
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}
        with self._log(piece).open("w") as log:
            process = subprocess.Popen(
                piece.command(self._situation()), cwd=self._keep, env=environment, stdin=subprocess.DEVNULL, stdout=log,
                stderr=subprocess.STDOUT, pass_fds=(lock.fileno(),),
            )  # fmt: skip
            try:
                return process.wait(seconds)
            except subprocess.TimeoutExpired:
                return None
            finally:
                _end(process)

    def _write(self, piece: Piece, code: int | None, seconds: float, *, since: float, hung: bool) -> None:
        """The line of a piece that has ended, failed, or was cut by the end of the call."""
        found: dict[str, Any] = {"records": _records(self._keep / FOLDER, since)}
        if code is None and hung:
            found["failed"] = f"it did not end within {seconds / 60:.1f} minutes"
        elif code is None:
            found["cut"] = True
            self._due = True
        elif code not in piece.ends:
            found["failed"] = f"exit code {code}: {last_line(self._log(piece))}"
        line = {
            "key": self._key, "piece": f"gpu_{piece.name}", "digest": piece.digest, **found, "exit_code": code,
            "said": last_line(self._log(piece)), "seconds": seconds, "hardware": hardware(), "versions": versions(),
            "date": time.strftime("%Y-%m-%d", time.gmtime()),
        }  # fmt: skip
        Lines(self._keep).add(line)

    def _judge_paper(self, code: int | None) -> None:
        if code in (NOT_YET, None):
            self._due = True
        elif code != DONE:
            self._said.append(f"paper: exit code {code}: {last_line(self._keep / 'paper.log')}")

    def _fits(self, piece: Piece) -> bool:
        """True if a piece fits into the minutes left; notes whether it is due later, or never could be done."""
        needed = self._needed(piece)
        if needed + CLOSING > self._minutes:
            self._said.append(
                f"{piece.name} takes about {needed:.1f} minutes, so --minutes must be more than "
                f"{needed + CLOSING:.1f}, but got {self._minutes:g}"
            )
        elif needed > self._left:
            self._due = True
        return needed <= self._left

    def _needed(self, piece: Piece) -> float:
        """Minutes: what it last took on such a card, more than that if it was cut, else a guess."""
        line = Lines(self._keep).find_any(self._key, f"gpu_{piece.name}")
        if line is None or piece.can_be_cut:
            return piece.minutes if not self._toy else 0.05
        seen = line["seconds"] / 60
        return max(piece.minutes, 1.5 * seen) if "cut" in line or "failed" in line else float(seen)

    def _is_done(self, piece: Piece) -> bool:
        line = self._line(piece)
        return line is not None and "cut" not in line

    def _line(self, piece: Piece) -> Line | None:
        """The line of a piece, of the code as it is."""
        return Lines(self._keep).find(self._key, f"gpu_{piece.name}", piece.digest)

    def _situation(self) -> Situation:
        return Situation(
            keep=self._keep, toy=self._toy, minutes=self._minutes - CLOSING,
            deadline=self._began + 60 * (self._minutes - CLOSING), records=records(Lines(self._keep).all(), self._key),
        )  # fmt: skip

    @property
    def _spent(self) -> float:
        return (time.monotonic() - self._began) / 60

    @property
    def _left(self) -> float:
        return self._minutes - CLOSING - self._spent

    def _log(self, piece: Piece) -> Path:
        return self._keep / f"{piece.name}.log"

    def _publish(self) -> None:
        """Copies what is worth keeping into OUT: few files, each whole."""
        logs = [path for piece in PIECES if (path := self._log(piece)).exists()]
        texts = [f"== {path.name}\n{path.read_text(errors='replace')[-200_000:]}" for path in logs]
        _whole(self._out / "tables.md", tables(Lines(self._keep).all(), self._key).encode() + b"\n")
        _whole(self._out / "logs.txt", "\n".join(texts).encode())
        if (self._keep / NAME).exists():
            _whole(self._out / NAME, (self._keep / NAME).read_bytes())
        for path in (self._keep / "packs").glob("*") if self._packs else ():
            if not (self._out / path.name).exists():
                _whole(self._out / path.name, path.read_bytes())


def _whole(path: Path, content: bytes) -> None:
    """Writes a file that is never seen half written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_bytes(content)
    temporary.replace(path)


def _records(folder: Path, since: float) -> list[Any]:
    """The figures that a piece has left; none that a kill cut short."""
    found = []
    for path in sorted(folder.glob("gpu_*.json")):
        with contextlib.suppress(json.JSONDecodeError):
            if path.stat().st_mtime >= since:
                found.append(json.loads(path.read_text()))
    return found


def _end(process: subprocess.Popen[bytes]) -> None:
    """Asks a process that still runs to end, then makes it."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_TERMINATED)
    if process.poll() is None:
        process.kill()
        process.wait()


if __name__ == "__main__":
    sys.exit(main())
