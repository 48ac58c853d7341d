"""A backbone's features by their settings: in memory for this job, in the cache for later ones."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from trainers.config import POSTHOC_METHODS, Stage2Config, TaskConfig
from trainers.data.task import Task
from trainers.features import FeatureBank, LabelledFeatures, extract_bank, extract_split, views
from trainers.files.cache import MISFIT, Cache
from trainers.stage1.models import Network
from trainers.stage1.precision import Precision


@dataclass(frozen=True, kw_only=True)
class Banks:
    """Extracts, keeps and finds the features of a backbone. Features of test images are never cached."""

    config: TaskConfig
    heads: tuple[Stage2Config, ...]  # of the job: one extraction serves all of them
    task: Task
    model: Network
    fingerprint: str
    precision: Precision
    read_test: bool
    cache: Cache | None
    device: torch.device
    _open: dict[str, FeatureBank] = field(default_factory=dict, init=False, repr=False)
    _given: dict[tuple[str, int], FeatureBank] = field(default_factory=dict, init=False, repr=False)
    _test: list[LabelledFeatures] = field(default_factory=list, init=False, repr=False)

    def get(self, head: Stage2Config) -> FeatureBank:
        """The features for training and measuring `head`; the same object for heads that share them.

        Views are drawn in sequence, so that the first views of a bank equal a smaller bank.
        """
        key, count = self.key(head), _count(head)
        if (key, count) not in self._given:
            bank = self._found(key, head, count).first(count)
            if self.read_test and "test" not in bank.splits:
                bank = bank.with_split("test", self._test_features())
            self._given[key, count] = bank
        return self._given[key, count]

    def key(self, head: Stage2Config) -> str:
        """The cache key of `head`'s features."""
        if head.features != "replay":
            return f"features-seed{head.seed}"
        end = "-test" if self.read_test else ""
        return f"features-replay-seed{head.seed}-views{head.epochs}-batch{head.batch_size}{end}"

    def _found(self, key: str, head: Stage2Config, count: int) -> FeatureBank:
        bank = self._open.get(key) or self._load(key)
        if bank is None or len(bank.train) < count:
            bank = self._extract(key, head)
        self._open[key] = bank
        return bank

    def _load(self, key: str) -> FeatureBank | None:
        pair = self.cache.load(self.fingerprint, key) if self.cache else None
        if self.cache is None or pair is None:
            return None
        try:
            bank = FeatureBank.from_tensors(pair[0])
        except MISFIT as error:
            self.cache.reject(self.fingerprint, key, error)
            return None
        return bank.to(self.device)

    def _extract(self, key: str, head: Stage2Config) -> FeatureBank:
        with_test = self.read_test and head.features == "replay"  # the statistics change every epoch
        bank = extract_bank(
            self.model,
            self.task,
            mode="replay" if head.features == "replay" else "default",
            epochs=max(_count(other) for other in (head, *self.heads) if self.key(other) == key),
            batch_size=head.batch_size,
            seed=head.seed,
            splits=("val", "test") if with_test else ("val",),
            device=self.device,
            precision=self.precision,
            mirrored=("test",) if self.config.flip_average else (),
        )
        if self.cache and not with_test:
            self.cache.publish(self.fingerprint, key, bank.to_tensors(), {})
        return bank

    def _test_features(self) -> LabelledFeatures:
        if not self._test:
            self._test.append(
                extract_split(
                    self.model,
                    self.task.test,
                    device=self.device,
                    precision=self.precision,
                    mirrored=self.config.flip_average,
                )
            )
        return self._test[0]


def _count(head: Stage2Config) -> int:
    """How many views `head` needs; a post-hoc method that reads no training features accepts the fewest."""
    alone = head.method in POSTHOC_METHODS and head.method != "ncm" and head.features != "replay"
    return views("search" if alone else head.features, head.epochs)
