from __future__ import annotations

import torch

from trainers.captured import CapturedStep
from trainers.config import Stage1Config
from trainers.models import Network, build_model
from trainers.stage1 import criteria

COUNTS = (40, 20, 5)


def _batches(sizes: list[int]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [
        (torch.randn(n, 1, 8, 8, generator=generator), torch.randint(0, 3, (n,), generator=generator)) for n in sizes
    ]


def _model(seed: int) -> Network:
    return build_model("cnn-small", 3, in_channels=1, image_size=8, seed=seed)


def test_steps_are_those_of_sgd_and_another_trial_starts_afresh() -> None:
    batches = _batches([16, 16, 7])
    criterion, _ = criteria(Stage1Config(), COUNTS)
    captured_model = _model(0)
    step = CapturedStep(
        captured_model, criterion, images=batches[0][0], labels=batches[0][1], momentum=0.9, precision="fp32"
    )
    for seed, lr, weight_decay in ((3, 0.1, 5e-3), (4, 0.02, 0.0)):  # the second trial finds the first one's momentum
        plain = _model(seed)
        optimizer = torch.optim.SGD(plain.parameters(), lr=lr, momentum=0.9, weight_decay=weight_decay)
        step.restart(_model(seed).state_dict(), lr=lr, weight_decay=weight_decay)
        total = 0.0
        for epoch in range(2):
            step.set(lr=lr / (1 + epoch), weight_decay=weight_decay)
            optimizer.param_groups[0]["lr"] = lr / (1 + epoch)
            for images, labels in batches:
                step(images, labels)
                loss = criterion(plain(images), labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += loss.item() * len(labels)
        for (name, ours), theirs in zip(captured_model.state_dict().items(), plain.state_dict().values(), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6, msg=name)
        torch.testing.assert_close(step.loss_sum.item(), total, rtol=1e-4, atol=1e-6)
