"""Wrong labels of our own: a method that knows which labels are wrong can learn what a wrong one looks like."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmark.errors import BenchmarkError
from benchmark.training.context import RunContext

KINDS = ("auto", "same", "symmetric")


def inject(run: RunContext, labels: Tensor, rate: float, num_classes: int, name: str, kind: str = "auto") -> Tensor:
    """(m,) int64 labels of which a share is made wrong; a draw of its own, the same whenever it is asked for.

    Args:
        run: the run; its oracle knows the kind of injected noise (metered).
        labels: (m,) int64.
        rate: share to make wrong.
        num_classes: K.
        name: of the draw.
        kind: ``same`` as the data's noise (an oracle), ``symmetric`` (each wrong class equally likely, the number exact), or ``auto``:
            the same where it is known, else symmetric.

    Raises:
        BenchmarkError: ``same``, and the noise is real or needs more than labels.
    """
    rng = run.rng(name, "injection")
    given = labels.cpu().numpy()
    if kind in ("auto", "same") and rate > 0 and len(given):
        try:
            return torch.from_numpy(run.oracle.imitate_noise(given, rate, rng)).to(labels.device)
        except LookupError as error:
            if kind == "same":
                raise BenchmarkError(f"inject=same cannot be had: {error}; use inject=auto or inject=symmetric") from None
    noisy = given.copy()
    chosen = rng.choice(len(given), size=round(rate * len(given)), replace=False)
    noisy[chosen] = (noisy[chosen] + rng.integers(1, max(2, num_classes), size=len(chosen))) % num_classes
    return torch.from_numpy(noisy).to(labels.device)
