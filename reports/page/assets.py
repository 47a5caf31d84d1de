"""Style and script of pages, from the files beside the modules; pages share what is written once."""

from __future__ import annotations

from importlib import resources

__all__ = ["script_of", "style_of"]

HERE = "reports.page"


def style_of(*names: str) -> str:
    """The CSS of these files, in their order.

    Args:
        names: ``file``, of this package, or ``package/file``, such as ``reports.clean_page/clean.css``.
    """
    return "".join(map(_asset, names))


def script_of(*names: str) -> str:
    """The JavaScript of these files as one script that leaves nothing behind; see :func:`style_of`."""
    return f'"use strict";\n(() => {{\n{"".join(map(_asset, names))}}})();\n'


def _asset(name: str) -> str:
    package, _, file = name.rpartition("/")
    return resources.files(package or HERE).joinpath(file).read_text(encoding="utf-8")
