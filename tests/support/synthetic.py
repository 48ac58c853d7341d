"""Studies that never ran: rows with the shape of real ones, the same for the same seed."""

from __future__ import annotations

import datetime as dt
import hashlib
import math

import numpy as np

from search_spaces import loads
from studies.records import BackboneRow, ClassRow, EpochRow, PosthocRow, ReadingRow, StudyRow, TrialRow
from studies.study_data import StudyData, best_trial
from trainers.config import TrialConfig

EPOCH = dt.datetime(2026, 3, 1, 9, 0, tzinfo=dt.UTC)
SPACE = """
version: 1
name: {name}
task: {{dataset: {dataset}, imbalance_factor: {factor}, val_per_class: 20{data}}}
stage1:
  epochs: 40
  lr: {{low: 1e-3, high: 1e-1, log: true}}
  weight_decay: {{low: 1e-4, high: 2e-2, log: true}}
stage2:
  lr: {{low: 1e-3, high: 1e-1, log: true}}
  weight_decay: {{low: 1e-4, high: 2e-1, log: true}}
  maxnorm_radius: {{low: 0.1, high: 5.0, log: true}}
"""
NORMS = ("cv", "max_min", "gini", "pearson", "spearman", "slope")
ROLES = {"weight_decay": "none", "l2_norm": "l2_norm", "tau_norm": "tau_norm", "logit_adjustment": "logit_adjustment"}


class Generator:
    """Draws one study. `classes` of `largest` down to `largest / factor` training images."""

    def __init__(
        self, *, seed=0, name="wd_maxnorm", dataset="digits-lt", classes=10, largest=100, factor=50.0,
        test_per_class=40, class_names=None, data=None, budget="",
    ):  # fmt: skip
        self.rng = np.random.default_rng(seed)
        self.name, self.dataset, self.factor, self.test_per_class = name, dataset, factor, test_per_class
        self.counts = tuple(int(largest * factor ** (-k / (classes - 1))) for k in range(classes))
        self.names = class_names or tuple(str(k) for k in range(classes))
        self.space = loads(
            SPACE.format(name=name, dataset=dataset, factor=factor, data=f", data: {data}" if data else "") + budget
        )

    def study(
        self, *, trials=64, backbones=8, failed=2, readings=True, epochs=True, baselines=True, state="done", fresh=0
    ) -> StudyData:
        rows: list[TrialRow] = []
        stage1 = self._backbones(backbones)
        if baselines:
            rows.append(self._naive(0))
        for i in range(trials):
            rows.append(self._trial(len(rows), stage1[i * backbones // max(1, trials)], failed=i >= trials - failed))
        best = best_trial(rows)
        naive = [row for row in rows if row.role == "naive"]
        shown = [*naive, best] if best else naive
        all_backbones = [b for b, _ in stage1] + ([self._naive_backbone(naive[0])] if naive else [])
        return StudyData(
            study=StudyRow(
                name=self.name, state=state, space_yaml=self.space.to_yaml(), space_sha256=self.space.sha256,
                objective="val.balanced_accuracy", created=EPOCH, data_fingerprint=_hash("data", self.name),
                class_names=self.names, train_counts=self.counts,
            ),
            trials=tuple(rows),
            backbones=tuple(all_backbones),
            posthoc=tuple(self._posthoc(b, config) for b, _ in stage1 for config in ROLES.values()),
            readings=tuple(self._readings(best, naive)) if readings and best else (),
            fresh=tuple(self._fresh(best, seed) for seed in range(1, fresh + 1)) if readings and best else (),
            epochs=tuple(self._epochs(all_backbones, best)) if epochs else (),
            classes={row.number: self._classes("val", 20, row.metrics, row.norms) for row in shown},
        )  # fmt: skip

    def _config(self, **values):
        flat = {key.replace("__", "."): value for key, value in values.items()}
        return TrialConfig.from_flat({**self.space.fixed, **flat}).to_flat()

    def _backbones(self, count):
        found = []
        for index in range(count):
            lr = float(10 ** self.rng.uniform(-3, -1))
            decay = float(10 ** self.rng.uniform(-4, math.log10(2e-2)))
            config = self._config(stage1__lr=lr, stage1__weight_decay=decay)
            quality = math.exp(-((math.log10(lr * decay) + 3.6) ** 2) / 2)
            fingerprint = _hash("backbone", self.name, index)
            row = BackboneRow(
                fingerprint=fingerprint, index=index, kind="search",
                config={k: v for k, v in config.items() if not k.startswith("stage2.")},
                metrics={"stage1.fdr": 3 * quality}, norms=self._norms(0.25 - 0.1 * quality),
                parameters=123_456, device="cpu", threads=1, seconds=60.0, cached=False, precision="bf16",
            )  # fmt: skip
            found.append((row, quality))
        return found

    def _naive(self, number):
        config = self._config(
            stage1__lr=0.01, stage1__weight_decay=0.0, stage2__lr=0.01, stage2__weight_decay=0.005,
            stage2__maxnorm_radius=0.7, stage2__method="none",
        )  # fmt: skip
        metrics = self._metrics("val", 0.55, 0.35, slope=0.3)
        return TrialRow(
            number=number, state="COMPLETE", value=metrics["val.balanced_accuracy"], params={}, config=config,
            metrics=metrics, role="naive", job=1, backbone=_hash("naive", self.name), backbone_index=0, round=0,
            temperature=1.3, norms=self._norms(0.3),
            seconds=61.0, started=EPOCH, finished=EPOCH + dt.timedelta(seconds=65),
        )  # fmt: skip

    def _naive_backbone(self, row):
        config = {k: v for k, v in row.config.items() if not k.startswith("stage2.")}
        return BackboneRow(
            fingerprint=row.backbone, index=0, kind="baseline", config=config, metrics={}, norms=row.norms,
            parameters=123_456, device="cpu", threads=1, seconds=58.0, cached=False, precision="bf16",
        )  # fmt: skip

    def _trial(self, number, backbone, *, failed):
        row, quality = backbone
        stage2 = {
            "stage2.lr": float(10 ** self.rng.uniform(-3, -1)),
            "stage2.weight_decay": float(10 ** self.rng.uniform(-4, math.log10(2e-1))),
            "stage2.maxnorm_radius": float(10 ** self.rng.uniform(-1, math.log10(5))),
        }
        config = {**self._config(), **row.config, **stage2}
        params = {name: config[name] for name in self.space.searched}
        off = (math.log10(stage2["stage2.weight_decay"]) + 1.8) / 1.2
        radius = math.log10(stage2["stage2.maxnorm_radius"])
        slope = 0.2 - 0.12 * (math.log10(stage2["stage2.weight_decay"]) + 4) + 0.1 * radius + self.rng.normal(0, 0.02)
        good = 0.6 * quality + 0.4 * math.exp(-(off**2) - (radius + 0.2) ** 2)
        metrics = self._metrics("val", 0.6 + 0.3 * good, 0.9 * good, slope=slope)
        job = 2 + 2 * row.index + number % 2
        start = EPOCH + dt.timedelta(seconds=70 * (1 + row.index // 2) + (60 if number % 2 else 0))
        common = {
            "number": number, "params": params, "config": config, "role": "search", "job": job,
            "backbone": row.fingerprint,
            "backbone_index": row.index, "precision": row.precision, "round": number % 2, "started": start,
            "finished": start + dt.timedelta(seconds=50),
        }  # fmt: skip
        if failed:
            reason = f"stage 2: the loss is nan after epoch 2; lower stage2.lr ({config['stage2.lr']:g})"
            return TrialRow(state="FAIL", value=None, metrics={}, reason=reason, **common)
        return TrialRow(
            state="COMPLETE", value=metrics["val.balanced_accuracy"], metrics=metrics, norms=self._norms(slope),
            temperature=0.4, seconds=2.0, **common,
        )  # fmt: skip

    def _metrics(self, split, head, tail, *, slope, images=20):
        correct, total = self._draw(images, head, tail)
        return {**self._accuracies(split, correct, total), **self._norm_metrics(slope)}

    def _draw(self, images, head, tail):
        log = np.log(np.array(self.counts))
        share = (log - log.min()) / max(log.max() - log.min(), 1e-9)  # 1 for the largest class
        recall = np.clip(tail + (head + 0.1 - tail) * share + self.rng.normal(0, 0.03, len(log)), 0.01, 0.99)
        return self.rng.binomial(images, recall), np.full(len(log), images)

    def _accuracies(self, split, correct, total):
        recall = correct / total
        counts = np.array(self.counts)
        groups = {"many": counts > 100, "medium": (counts <= 100) & (counts >= 20), "few": counts < 20}
        return {
            f"{split}.balanced_accuracy": float(recall.mean()),
            f"{split}.top1": float(correct.sum() / total.sum()),
            **{
                f"{split}.{name}": float(recall[which].mean()) if which.any() else None
                for name, which in groups.items()
            },
            f"{split}.ece": 0.31,
            f"{split}.ece_calibrated": 0.04,
        }

    def _norm_metrics(self, slope):
        values = {"cv": abs(slope) * 0.9, "spearman": math.tanh(4 * slope), "slope": slope, "gini": abs(slope) / 3}
        return {f"norm.{name}": float(values[name]) if name in values else None for name in NORMS}

    def _norms(self, slope):
        noise = self.rng.normal(0, 0.03, len(self.counts))
        return tuple(float(0.4 * count**slope * math.exp(e)) for count, e in zip(self.counts, noise, strict=True))

    def _classes(self, split, images, metrics, norms):
        accuracy = metrics["val.balanced_accuracy"]
        tail = next((v for g in ("few", "medium", "many") if (v := metrics[f"val.{g}"]) is not None), accuracy)
        correct, total = self._draw(images, 2 * accuracy - tail, tail)
        return tuple(
            ClassRow(class_index=k, split=split, train_count=n, correct=int(c), total=int(t), weight_norm=w)
            for k, (n, c, t, w) in enumerate(zip(self.counts, correct, total, norms, strict=True))
        )

    def _posthoc(self, backbone, method):
        config = {**self._config(stage2__method=method), **backbone.config}
        metrics = self._metrics("val", 0.8, 0.6, slope=0.1)
        return PosthocRow(backbone=backbone.fingerprint, config=config, metrics=metrics, norms=self._norms(0.1))

    def _readings(self, best, naive):
        rows = [self._reading("best", best.config, best.metrics, best.norms, best.number, best.backbone)]
        rows += [self._reading("naive", row.config, row.metrics, row.norms, row.number, row.backbone) for row in naive]
        for i, (role, method) in enumerate(ROLES.items()):
            slope = 0.22 - 0.1 * i
            metrics = self._metrics("val", 0.82, 0.45 + 0.08 * i, slope=slope)
            config = {**best.config, "stage2.method": method, "stage2.tau": 0.7 + 0.1 * i}
            rows.append(self._reading(role, config, metrics, self._norms(slope), None, best.backbone))
        return rows

    def _fresh(self, best, seed):
        config = {**best.config, "stage1.seed": seed, "stage2.seed": seed}
        return self._reading("fresh_seed", config, best.metrics, best.norms, None, _hash("fresh", seed))

    def _reading(self, role, config, metrics, norms, number, backbone):
        classes = self._classes("test", self.test_per_class, metrics, norms)
        correct, total = np.array([r.correct for r in classes]), np.array([r.total for r in classes])
        return ReadingRow(
            role=role, config=config, metrics={**metrics, **self._accuracies("test", correct, total)}, classes=classes,
            temperature=0.4, number=number, backbone=backbone, read_at=EPOCH + dt.timedelta(hours=1),
        )  # fmt: skip

    def _epochs(self, backbones, best):
        for row in backbones:
            final = 0.3 if row.kind == "baseline" else 0.1 + 0.02 * row.index
            for epoch in range(1, 41):
                slope = final * (1 - math.exp(-epoch / 9)) + float(self.rng.normal(0, 0.004))
                metrics = {"loss": 2 / epoch, "norm.slope": slope, "norm.cv": abs(slope) * 0.9}
                norms = self._norms(slope) if epoch % 2 == 0 else ()
                yield EpochRow(stage=1, epoch=epoch, metrics=metrics, backbone=row.fingerprint, norms=norms)
        if best is not None:
            for epoch in range(1, 11):
                slope = 0.1 + (best.metrics["norm.slope"] - 0.1) * (1 - math.exp(-epoch / 2))
                metrics = {"loss": 1 / epoch, "norm.slope": slope, "norm.cv": abs(slope), "projected_rows": 3.0}
                yield EpochRow(stage=2, epoch=epoch, metrics=metrics, number=best.number)


def _hash(*parts):
    return hashlib.sha256(repr(parts).encode()).hexdigest()
