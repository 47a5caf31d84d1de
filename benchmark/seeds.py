"""Every random number in a run comes from a seed that is derived from names, never from a counter or a shared stream.

``derive_seed("noise", data, noise, seed)`` is the same in every process, on every machine and in every Python, and it
does not depend on what else was drawn before. Splits, noise, initial weights and the order of batches leave the method
out of the names, so that all methods of a comparison see the same data in the same order (paired comparisons).
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import torch


def derive_seed(*names: Any) -> int:
    """A seed in [0, 2**63) from JSON-serialisable names (sha256 of their canonical JSON)."""
    text = json.dumps(names, sort_keys=True, separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def numpy_generator(*names: Any) -> np.random.Generator:
    """A numpy generator that is seeded with :func:`derive_seed`."""
    import numpy as np

    return np.random.default_rng(derive_seed(*names))


def torch_generator(*names: Any) -> torch.Generator:
    """A CPU torch generator that is seeded with :func:`derive_seed`."""
    import torch

    return torch.Generator().manual_seed(derive_seed(*names))
