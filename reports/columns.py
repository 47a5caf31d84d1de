"""The metrics that tables show: their names, their units, and which end is best."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["COLUMNS", "COLUMNS_OF", "COMPACT", "WHERE_KNOWN", "Column", "column"]


@dataclass(frozen=True)
class Column:
    """One metric of a table.

    Attributes:
        key: of the flat row, e.g. ``selected/accuracy``.
        title: for people, short enough for a terminal.
        percent: values are shares, shown in percent; else as they are.
        higher_is_better: which end is best.
        oracle: the number itself needs the truth (the epoch that is best on test).
        before: key of the value it started from, shown as ``before → value``.
        reference: key and name of what a trivial scorer gets, shown in the footer.
    """

    key: str
    title: str
    percent: bool = True
    higher_is_better: bool = True
    oracle: bool = False
    before: str | None = None
    reference: tuple[str, str] | None = None

    def cost(self, mean: float) -> float:
        """Lower is better; rounded so that the order of a sum does not break a tie."""
        return round(-mean if self.higher_is_better else mean, 12)


COLUMNS: tuple[Column, ...] = (
    Column("selected/accuracy", "acc sel"),
    Column("last/accuracy", "acc last"),
    Column("last_k/accuracy", "acc last k"),
    Column("best/accuracy", "acc best", oracle=True),
    Column("selected/balanced_accuracy", "bal acc"),
    Column("selected/macro_f1", "macro F1"),
    Column("selected/worst_class_recall", "worst rec"),
    Column("selected/auroc", "AUROC"),
    Column("selected/ece", "ECE", higher_is_better=False),
    Column("selected/nll", "NLL", percent=False, higher_is_better=False),
    Column("validation/accuracy", "noisy val"),
    Column("detection/f1", "det F1", reference=("detection/constant_f1", "flag all")),
    Column("detection/average_precision", "det AP", reference=("detection/random_average_precision", "random")),
    Column("clean_kept/macro", "clean kept"),
    Column("clean_kept/worst", "clean kept worst"),
    Column("detection/clean_hard_kept", "hard kept"),
    Column("detection/clean_hard_kept_at_rate", "hard kept at rate"),
    Column("correction/noise_after", "noise", higher_is_better=False, before="correction/noise_before"),
    Column("annotation/paid", "labels paid", percent=False, higher_is_better=False),
    Column("annotation/found_wrong", "paid wrong"),
    Column("cost/seconds", "secs", percent=False, higher_is_better=False),
)
"""What a table has by default; csv and json show all of it."""

COMPACT: tuple[str, ...] = (
    "selected/accuracy", "last/accuracy", "last_k/accuracy", "best/accuracy", "selected/balanced_accuracy", "selected/ece",
    "detection/f1", "detection/average_precision", "correction/noise_after", "cost/seconds",
)  # fmt: skip
"""Keys of the columns that a terminal, a Markdown or a LaTeX table has room for; every rule that selects an epoch is among them."""

WHERE_KNOWN: tuple[str, ...] = ("annotation/paid",)
"""Keys that join them where any run has them."""


MASK_COLUMNS: tuple[Column, ...] = (
    Column("selected/dice", "Dice sel"),
    Column("last/dice", "Dice last"),
    Column("last_k/dice", "Dice last k"),
    Column("best/dice", "Dice best", oracle=True),
    Column("selected/iou", "IoU"),
    Column("selected/hd95", "HD95 px", percent=False, higher_is_better=False),
    Column("selected/surface_dice", "surface Dice"),
    Column("selected/missed", "missed", percent=False, higher_is_better=False),
    Column("selected/ece", "ECE", higher_is_better=False),
    Column("validation/dice", "noisy val"),
    Column("detection/precision", "px prec"),
    Column("detection/recall", "px rec"),
    Column("detection/f1", "px F1", reference=("detection/constant_f1", "flag all")),
    Column("detection/average_precision", "px AP", reference=("detection/random_average_precision", "random")),
    Column("ranking/average_precision", "mask AP", reference=("ranking/random_average_precision", "random")),
    Column("correction/noise_after", "noise", higher_is_better=False, before="correction/noise_before"),
    Column("correction/dice_after", "mask Dice", before="correction/dice_before"),
    Column("cost/seconds", "secs", percent=False, higher_is_better=False),
)
"""The same for masks."""

MASK_COMPACT: tuple[str, ...] = (
    "selected/dice", "last/dice", "last_k/dice", "best/dice", "selected/hd95", "selected/surface_dice", "detection/f1",
    "detection/average_precision", "ranking/average_precision", "correction/dice_after", "cost/seconds",
)  # fmt: skip

BAG_COLUMNS: tuple[Column, ...] = (
    Column("selected/auroc", "AUROC sel"),
    Column("last/auroc", "AUROC last"),
    Column("last_k/auroc", "AUROC last k"),
    Column("best/auroc", "AUROC best", oracle=True),
    Column("selected/average_precision", "AP"),
    Column("selected/accuracy", "acc"),
    Column("selected/f1", "F1"),
    Column("selected/ece", "ECE", higher_is_better=False),
    Column("validation/auroc", "noisy val"),
    Column("instances/auroc", "tile AUROC"),
    Column("instances/average_precision", "tile AP", reference=("instances/random_average_precision", "random")),
    Column("instances/auroc_positive_bags", "in pos. bags"),
    Column("lesions/froc", "FROC"),
    Column("detection/average_precision", "det AP", reference=("detection/random_average_precision", "random")),
    Column("cost/seconds", "secs", percent=False, higher_is_better=False),
)
"""The same for bags."""

BAG_COMPACT: tuple[str, ...] = (
    "selected/auroc", "last/auroc", "last_k/auroc", "best/auroc", "selected/accuracy", "instances/auroc", "instances/average_precision",
    "instances/auroc_positive_bags", "lesions/froc", "detection/average_precision", "cost/seconds",
)  # fmt: skip

COLUMNS_OF: dict[str, tuple[tuple[Column, ...], tuple[str, ...]]] = {
    "classification": (COLUMNS, COMPACT),
    "segmentation": (MASK_COLUMNS, MASK_COMPACT),
    "bags": (BAG_COLUMNS, BAG_COMPACT),
}
"""Task → its columns, and the keys of the compact ones."""


def column(key: str) -> Column:
    """The default column of a key, or a plain one; errors, losses, noise and costs count as better when lower."""
    known = {c.key: c for columns, _ in COLUMNS_OF.values() for c in columns}
    if key in known:
        return known[key]
    group, _, name = key.rpartition("/")
    plain = name in ("nll", "hd95", "missed") or "/hd95" in key or "/missed" in key or group in ("cost", "epochs")
    lower = name in ("ece", "noise_before", "noise_after") or (plain and group != "epochs")
    return Column(key, key, percent=not plain, higher_is_better=not lower, oracle=group == "best")
