"""What was done to a person's image files before anybody trained on them, told from their headers."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from benchmark.data.decode import ORIENTATION

__all__ = ["file_notes"]

MODES = {
    "1": "black and white", "L": "grey", "LA": "grey with transparency", "P": "with a palette", "PA": "with a palette", "RGB": "RGB",
    "RGBA": "RGB with transparency", "CMYK": "CMYK", "YCbCr": "YCbCr", "LAB": "Lab", "HSV": "HSV", "I": "16-bit grey",
}  # fmt: skip
TRANSPARENT = ("LA", "PA", "RGBA")


def file_notes(base: Path, names: Sequence[str]) -> tuple[str, ...]:
    """One sentence each on mixed sizes, mixed modes, 16 bits, transparency, rotations and further pages; a file that cannot be read is
    passed over.

    Args:
        base: the folder that names are relative to.
        names: n files; their headers are read, one after another (about 10,000 a second).
    """
    from PIL import Image

    sizes: Counter[tuple[int, int]] = Counter()
    modes: Counter[str] = Counter()
    turned = pages = transparent = 0
    for name in names:
        with contextlib.suppress(Exception), Image.open(base / name) as image:  # Pillow's plugins raise whatever they trip over
            # What a PNG says of its rotation it may say behind its pixels; nobody writes it there, and they would have to be decoded.
            exif = image.getexif() if image.format != "PNG" or "exif" in image.info else {}
            sizes[image.size] += 1
            modes["I" if image.mode.startswith("I;16") else image.mode] += 1
            turned += exif.get(ORIENTATION, 1) not in (0, 1)
            pages += getattr(image, "n_frames", 1) > 1
            transparent += image.mode in TRANSPARENT or "transparency" in image.info
    notes = []
    if len(sizes) > 1:
        (width, height), count = sizes.most_common(1)[0]
        notes.append(f"{len(sizes)} sizes, most often {width} × {height} ({count} of {sizes.total()}): scaled, and the centre cut out")
    if len(modes) > 1:
        listed = ", ".join(f"{count} {MODES.get(mode, mode)}" for mode, count in modes.most_common())
        notes.append(f"several kinds of pixels: {listed}; brought to one, so a kind that one class has more often gives that class away")
    for count, words in (
        (modes["I"], "16-bit: brightness divided by 256, never stretched"),
        (transparent, "with transparency, which was dropped"),
        (turned, "turned or mirrored as the file's EXIF orientation says"),
        (pages, "with more than one page or frame: the first one counts"),
    ):
        if count:
            notes.append(f"{count} {'image' if count == 1 else 'images'} {words}")
    return tuple(notes)
