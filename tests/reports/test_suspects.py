"""Votes of several methods on the same training samples, and the pictures of what they suspect."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from benchmark.errors import BenchmarkError
from benchmark.registry import Registry
from benchmark.spec import PluginSpec, RunSpec, protocol
from reports.consensus import consensus_of
from reports.pictures import galleries
from reports.rows import flatten_all
from reports.suspects import Gallery
from reports.tables import Comparison, compare

INDEX = np.array([40, 7, 19, 3, 25])
GIVEN, TRUE = np.array([0, 1, 2, 0, 1]), np.array([0, 0, 2, 0, 2])


def _write(folder: Path, *, columns: dict[str, Any] | None = None, without: tuple[str, ...] = (), **arrays: Any) -> Path:
    """A run's folder. By default the second and the last label are suspected, and ranked lowest in that order."""
    folder.mkdir(parents=True)
    every = {"train_given": GIVEN, "train_true": TRUE, "train_quality": np.array([0.9, 0.1, 0.8, 0.7, 0.2], dtype=np.float32)}
    every |= {"train_suspect": np.array([False, True, False, False, True]), **arrays}
    np.savez(folder / "predictions.npz", **{name: values for name, values in every.items() if name not in without})
    pq.write_table(pa.table({"index": INDEX, **(columns or {})}), folder / "samples.parquet")
    (folder / "result.json").write_text(json.dumps({"data": {"classes": ["a", "b", "c"]}}))
    return folder


# ------------------------------------------------------------------------------------------------------------- votes


def test_ranks_and_votes_by_hand(tmp_path: Path) -> None:
    one = _write(tmp_path / "one")
    other = _write(
        tmp_path / "other",
        train_quality=np.array([0.5, 0.0, 0.5, 0.1, 1.0]),
        train_suspect=np.array([False, True, False, True, False]),
    )
    found = consensus_of({"one": one, "other": other})
    assert found.methods == ("one", "other") and found.index.tolist() == INDEX.tolist()
    # ranks 5 1 4 3 2 and 3½ 1 3½ 2 5, as shares of the way from 1 to 5
    assert found.rank.tolist() == pytest.approx([(1 + 0.625) / 2, 0, (0.75 + 0.625) / 2, (0.5 + 0.25) / 2, (0.25 + 1) / 2])
    assert found.votes.tolist() == [0, 2, 0, 1, 1]
    assert found.most_suspicious(3).tolist() == [1, 3, 4] and len(found.most_suspicious(99)) == 5


def test_equal_ranks_come_by_index(tmp_path: Path) -> None:
    one = _write(tmp_path / "one", train_quality=np.array([0, 1, 2, 3, 4.0]))
    other = _write(tmp_path / "other", train_quality=np.array([4, 3, 2, 1, 0.0]))
    found = consensus_of({"one": one, "other": other})
    assert INDEX[found.most_suspicious(5)].tolist() == sorted(INDEX)


def test_suggestions_by_hand(tmp_path: Path) -> None:
    folders = {
        # what the method says comes before what its network says; dropped (-1) or kept, the network is asked
        "corrects": _write(tmp_path / "1", columns={"suggested": [1, 2, 1, 0, 1]}, train_corrected=np.array([2, 0, -1, 0, 1])),
        "predicts": _write(tmp_path / "2", columns={"suggested": [1, 2, 2, 0, 0]}),
        "agrees": _write(tmp_path / "3", columns={"suggested": [1, 0, 2, 0, 1]}),
        "silent": _write(tmp_path / "4"),
    }
    found = consensus_of(folders)
    assert found.suggested.tolist() == [[2, 0, 1, -1, -1], [1, 2, -1, -1, 0], [1, 0, -1, -1, -1], [-1] * 5]
    assert [found.suggestion(row) for row in range(5)] == [1, 0, 1, None, 0]


def test_the_lower_class_on_a_tie(tmp_path: Path) -> None:
    folders = {str(k): _write(tmp_path / str(k), columns={"suggested": [k] * 5}) for k in (2, 1)}
    assert consensus_of(folders).suggestion(0) == 1


def test_who_does_not_vote(tmp_path: Path) -> None:
    folders = {
        "gone": tmp_path / "gone",
        "constant": _write(tmp_path / "1", train_quality=np.ones(5)),
        "nan": _write(tmp_path / "2", train_quality=np.array([1, 2, 3, np.nan, 5])),
        "short": _write(tmp_path / "3", train_suspect=np.zeros(4, dtype=bool)),
        "numbers": _write(tmp_path / "4", train_suspect=np.zeros(5)),
        "pickle": _write(tmp_path / "5", train_quality=np.array([{}] * 5, dtype=object)),
        "lacks": _write(tmp_path / "6", without=("train_quality",)),
        "other data": _write(tmp_path / "7", train_given=np.array([2, 2, 2, 2, 2])),
        "masks": _write(tmp_path / "8", train_given=np.zeros((5, 1, 2, 2), dtype=np.uint8)),
        "one": _write(tmp_path / "9"),
        "two": _write(tmp_path / "10"),
    }
    assert consensus_of(folders).methods == ("one", "two")
    with pytest.raises(BenchmarkError, match=r"^no run can be asked: predictions.npz does not exist; run the cell again$"):
        consensus_of({"gone": folders["gone"]})
    with pytest.raises(BenchmarkError, match=r"^no method that ranks labels has finished$"):
        consensus_of({})


def test_another_run_names_the_samples(tmp_path: Path) -> None:
    folders = {"one": _write(tmp_path / "one", train_quality=np.arange(5.0)), "two": _write(tmp_path / "two")}
    (folders["one"] / "samples.parquet").write_bytes(b"PAR1")
    found = consensus_of(folders)
    assert found.methods == ("one", "two") and found.folder == folders["two"] and found.index.tolist() == INDEX.tolist()
    (folders["two"] / "samples.parquet").unlink()
    with pytest.raises(BenchmarkError, match=r"samples.parquet is missing or corrupt"):
        consensus_of(folders)


def test_nobody_knows_the_truth(tmp_path: Path) -> None:
    assert consensus_of({"one": _write(tmp_path / "one", truth_known=np.array(False))}).true is None


# --------------------------------------------------------------------------------------------------------- galleries

N = 200


class Campaign:
    """Runs on the digits, whose images come with a library, or on any other data set."""

    def __init__(self, root: Path) -> None:
        self.root, self.results, self.folders = root, list[dict[str, Any]](), dict[str, Path]()

    def add(
        self,
        method: str = "ce",
        seed: int = 0,
        *,
        noise: float = 0.2,
        data: PluginSpec | None = None,
        columns: dict[str, Any] | None = None,
        task: str = "classification",
        **arrays: Any,
    ) -> Path:
        from sklearn.datasets import load_digits

        data = data or PluginSpec("digits", {}, 1, "v1")
        labels = {"method": method, "dataset": data.name, "noise": f"symmetric:{noise}"}
        spec = RunSpec(PluginSpec(method), data, PluginSpec("symmetric", {"rate": noise}, 2), protocol("quick"), seed, labels)
        index = np.arange(N) * 3 + seed
        true = load_digits().target[index].astype(np.int64)
        given = np.where(np.arange(N) % 10 == 0, (true + 1) % 10, true)
        quality = np.linspace(0.5, 1, N) - 0.5 * (given != true)
        every = {"train_given": given, "train_true": true, "train_quality": quality, "train_suspect": quality < 0.5, **arrays}
        folder = _write(self.root / spec.key(), columns={"index": index, "suggested": true, **(columns or {})}, **every)
        names = [f"digit {k}" for k in range(10)]
        result = {"run_key": spec.key(), "status": "done", "spec": spec.to_dict(), "data": {"classes": names, "task": task}}
        (folder / "result.json").write_text(json.dumps(result))
        headline = {"classification": "accuracy", "segmentation": "dice", "bags": "auroc"}[task]
        self.results.append(result | {"metrics": {"selected": {headline: 0.5}}})
        self.folders[spec.key()] = folder
        return folder

    def comparison(self) -> Comparison:
        compared = compare(flatten_all(self.results), seeds=sorted({result["spec"]["seed"] for result in self.results}))
        keys = {(row["noise"], row["dataset"], row["method"], row["seed"]): row["run_key"] for row in compared.runs}
        groups = []
        for group in compared.groups:
            named = [tuple(keys[group.noise, group.dataset, entry.method, seed] for seed in entry.seeds) for entry in group.entries]
            entries = tuple(replace(entry, run_keys=own) for entry, own in zip(group.entries, named, strict=True))
            groups.append(replace(group, entries=entries))
        return replace(compared, groups=tuple(groups), task=compared.runs[0]["task"])

    def galleries(self, **options: Any) -> dict[int, Gallery]:
        return galleries(self.comparison(), self.folders.get, self.root / "data", Registry(), **options)


@pytest.fixture
def campaign(tmp_path: Path) -> Campaign:
    return Campaign(tmp_path)


def test_a_gallery_of_digits(campaign: Campaign) -> None:
    from sklearn.datasets import load_digits

    campaign.add("ce")
    campaign.add("gce")
    gallery = campaign.galleries(per_group=5)[0]
    assert (gallery.seed, sorted(gallery.methods), gallery.n, gallery.note) == (0, ["ce", "gce"], N, "")
    assert [suspect.index for suspect in gallery.suspects] == [0, 30, 60, 90, 120]
    digits = load_digits()
    for place, suspect in enumerate(gallery.suspects):
        digit = int(digits.target[suspect.index])
        assert suspect.true == suspect.suggested == f"digit {digit}" and suspect.given == f"digit {(digit + 1) % 10}"
        assert (suspect.votes, suspect.voters, suspect.path) == (2, 2, "") and suspect.rank == pytest.approx(place / (N - 1))
        assert suspect.picture is not None and suspect.picture[0] == "image/png"
        pixels = np.asarray(Image.open(io.BytesIO(suspect.picture[1])))
        assert np.array_equal(pixels, np.rint(digits.images[suspect.index] * (255 / 16)).astype(np.uint8))
    assert campaign.galleries(per_group=5)[0] == gallery
    assert len(campaign.galleries()[0].suspects) == 12
    assert not (campaign.root / "data").exists()


def test_pictures_are_small(campaign: Campaign) -> None:
    campaign.add(data=PluginSpec("digits", {"image_size": 200}, 1, "v1"))
    for suspect in campaign.galleries(per_group=2)[0].suspects:
        assert suspect.picture is not None and max(Image.open(io.BytesIO(suspect.picture[1])).size) == 160


def test_the_seed_that_most_methods_have(campaign: Campaign) -> None:
    for method, seeds in {"ce": (0, 1, 2), "gce": (1, 2), "elr": (1, 2), "random_detector": (0, 1, 2)}.items():
        for seed in seeds:
            campaign.add(method, seed)
    gallery = campaign.galleries(per_group=1)[0]
    assert gallery.seed == 1 and sorted(gallery.methods) == ["ce", "elr", "gce"]  # the floor does not vote


def test_floors_alone_are_no_voters(campaign: Campaign) -> None:
    campaign.add("random_detector")
    campaign.add("constant_detector")
    assert campaign.galleries()[0] == Gallery(0, (), 0, (), "no method that ranks labels has finished")


def test_each_data_set_is_loaded_once(campaign: Campaign, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmark import prepare

    monkeypatch.setattr(prepare, "_latest", {})
    asked: list[str] = []
    real = prepare.check_arrays
    monkeypatch.setattr("benchmark.tasks.classification.check_arrays", lambda arrays, name: (asked.append(name), real(arrays, name)))
    other = PluginSpec("digits", {"image_size": 16}, 1, "v1")
    for noise in (0.1, 0.2):
        campaign.add(noise=noise)
        campaign.add(noise=noise, data=other)
        campaign.add(noise=noise, data=PluginSpec("digits", {"features": "identity"}, 1, "v1-identity"))
    told: list[tuple[int, int]] = []
    found = campaign.galleries(progress=lambda done, total: told.append((done, total)))
    assert list(found) == list(range(6)) and told == [(done, 6) for done in range(1, 7)]
    # frozen features have the pictures that they were computed from
    assert all(suspect.picture is not None for gallery in found.values() for suspect in gallery.suspects)
    assert len(asked) == 3


def test_data_that_are_not_here_are_not_fetched(campaign: Campaign, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise AssertionError("a report reaches for the web")

    monkeypatch.setattr("benchmark.data.download.transfer", fails)
    campaign.add(data=PluginSpec("bloodmnist", {}, 1, "v1"))
    gallery = campaign.galleries()[0]
    assert len(gallery.suspects) == 12 and all(suspect.picture is None for suspect in gallery.suspects)
    assert gallery.note.startswith("no pictures: bloodmnist.npz is not on this machine") and "\n" not in gallery.note
    assert not (campaign.root / "data" / "medmnist").exists()


@pytest.mark.parametrize(
    ("data", "note"),
    [
        (PluginSpec("nowhere<script>", {}, 1, "v1"), "no pictures: unknown dataset 'nowhere<script>'"),
        (PluginSpec("digits", {}, 1, "v9"), "no pictures: data set digits has changed since this run was planned"),
        (PluginSpec("digits", {"sides": 3}, 1, "v1"), "no pictures: "),
        (PluginSpec("folder", {"path": "/nowhere/at/all"}, 1, "v1"), "no pictures: "),
    ],
)
def test_data_that_cannot_be_read(campaign: Campaign, data: PluginSpec, note: str) -> None:
    campaign.add(data=data)
    gallery = campaign.galleries()[0]
    assert gallery.note.startswith(note) and gallery.note.isprintable() and len(gallery.note) <= 200
    assert len(gallery.suspects) == 12 and all(suspect.picture is None for suspect in gallery.suspects)


def test_data_that_are_others_by_now(campaign: Campaign) -> None:
    campaign.add(train_true=np.zeros(N, dtype=np.int64))
    campaign.add(noise=0.3, columns={"index": np.arange(N) + 1700})
    for gallery in campaign.galleries().values():
        assert gallery.note == "no pictures: digits holds other samples by now" and gallery.suspects[0].picture is None


def test_foreign_images_are_left_out(campaign: Campaign) -> None:
    campaign.add(train_open_set=np.arange(N) % 10 == 0)
    gallery = campaign.galleries(per_group=3)[0]
    assert [suspect.index for suspect in gallery.suspects] == [3, 6, 9]
    assert gallery.note == "20 foreign images that open-set noise has put in are left out"


def test_hostile_names_come_through_and_open_nothing(campaign: Campaign) -> None:
    names = ['<img src=x onerror="alert(1)">', "../../etc/passwd", "\\input{x}", "=1+1", *map(str, range(6))]
    folder = campaign.add(columns={"path": [f"../../../{k}\u202e<b>" for k in range(N)]})
    (folder / "result.json").write_text(json.dumps({"data": {"classes": names}}))
    suspect = campaign.galleries()[0].suspects[0]
    assert suspect.path == "../../../0\u202e<b>" and suspect.picture is not None
    assert (suspect.true, suspect.given) == (names[0], names[1])
    (folder / "result.json").write_text("{")
    assert campaign.galleries()[0].suspects[0].given == "1"


def test_results_without_folders_have_no_gallery(campaign: Campaign) -> None:
    campaign.add()
    empty = galleries(campaign.comparison(), lambda key: None, campaign.root, Registry())[0]
    assert empty == Gallery(0, (), 0, (), "only results are here: what methods say of each sample is in the runs' folders")


@pytest.mark.parametrize(("task", "command"), [("segmentation", "gallery"), ("bags", "heatmaps")])
def test_other_tasks_have_their_own_pictures(campaign: Campaign, task: str, command: str) -> None:
    campaign.add(task=task)
    gallery = campaign.galleries()[0]
    assert gallery.suspects == () and gallery.methods == () and gallery.note.endswith(f"python -m benchmark {command}")


def test_broken_files_leave_a_note(campaign: Campaign) -> None:
    (campaign.add() / "predictions.npz").write_bytes(b"PK\x03\x04\x1b[2J")
    gallery = campaign.galleries()[0]
    assert (
        gallery.suspects == () and gallery.note.startswith("no run can be asked: predictions.npz is corrupt") and gallery.note.isprintable()
    )
