"""The function that Ray carries to a node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def entry(root: str) -> Callable[[dict[str, Any], Any], dict[str, Any]]:
    """The function that a node carries out. It is nested, so that Ray sends its code: the node need not find this module to say so."""

    def carry_out(order: dict[str, Any], mailbox: Any) -> dict[str, Any]:
        import os
        import sys

        if root not in sys.path and os.path.isdir(os.path.join(root, "benchmark")):  # noqa: PTH112, PTH118
            sys.path.insert(0, root)  # a checkout at the same place
        try:
            from benchmark.engines import ray_node
        except ImportError as error:
            text = f"node {os.uname().nodename} cannot import the benchmark ({error}); install the same version there"
            outcome = {"key": order["key"], "status": "failed", "seconds": 0.0, "message": text}
            return {"outcome": outcome, "files": {}, "node": "", "log": b""}
        return ray_node.carry_out(ray_node.Order(**order), mailbox)

    return carry_out
