from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmark.clean.raters import Raters, crowdlab, disagreement, raters_of, tally
from benchmark.data.options import DataOptions
from benchmark.errors import BenchmarkError
from benchmark.params import resolve
from benchmark.registry import Registry

FOLDER = Registry().load("dataset", "folder")


def written(tmp_path: Path, text: str, images: int = 4) -> Path:
    for number in range(images):
        Image.new("L", (6, 6), number).save(tmp_path / f"{number}.png")
    (tmp_path / "list.csv").write_text(text, encoding="utf-8")
    return tmp_path / "list.csv"


def read(path: Path, cache: Path) -> tuple[list[str], Raters | None]:
    """The given labels' names and the raters, as the command reads them."""
    arrays = FOLDER(resolve(FOLDER.Params, {"path": str(path)}, "folder"), DataOptions()).load(cache)
    return [arrays.classes[label] for label in arrays.labels], raters_of(path, arrays.paths, arrays.classes, arrays.labels)


def test_majority_and_ties(tmp_path: Path) -> None:
    text = "path,label_1,label_2,label_3\n0.png,x,y,y\n1.png,y,x,\n2.png,,x,y\n3.png,x,,\n"
    given, raters = read(written(tmp_path, text), tmp_path / "cache")
    assert given == ["y", "y", "x", "x"]
    assert raters is not None and raters.names == ("label_1", "label_2", "label_3")
    assert raters.labels.tolist() == [[0, 1, 1], [1, 0, -1], [-1, 0, 1], [0, -1, -1]]
    assert raters.consensus.tolist() == [1, 1, 0, 0]
    assert raters.quality == pytest.approx([2 / 3, 1 / 2, 1 / 2, 1])
    assert raters.agreement == pytest.approx([2 / 3, 2 / 3, 1 / 2]) and np.isnan(raters.rater_quality).all()


def test_label_wins_and_columns_come_by_number(tmp_path: Path) -> None:
    text = "label_10;path;label_2;label\nx;0.png;x;y\n;1.png;;x\n"
    given, raters = read(written(tmp_path, text), tmp_path / "cache")
    assert given == ["y", "x"] and raters is not None and raters.names == ("label_2", "label_10")
    assert raters.labels.tolist() == [[0, 0], [-1, -1]]
    assert raters.consensus.tolist() == [0, 0] and raters.quality[0] == 1 and np.isnan(raters.quality[1])
    labels = np.array([1, 0])
    assert disagreement(raters, labels).tolist() == [1.0, 0.0]


def test_disagreement_counts_raters_only() -> None:
    raters = tally("abc", np.array([[0, 1, -1], [2, 2, 2], [-1, -1, -1]]), np.array([1, 0, 2]))
    assert disagreement(raters, np.array([1, 0, 2])).tolist() == [0.5, 1.0, 0.0]


def test_no_raters(tmp_path: Path) -> None:
    assert read(written(tmp_path, "path,label\n0.png,x\n1.png,y\n"), tmp_path / "cache")[1] is None
    assert raters_of(tmp_path, ["0.png"], ("x", "y"), np.array([0])) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,label_1\n0.png,x\n1.png,y\n", "has one column of a rater, label_1; call it label"),
        ("path,label_1,label_2\n0.png,x,x\n1.png,,\n", "line 3: label_1, label_2 are all empty"),
        ("path,label_1,label_2\n0.png,x,\n1.png,y,\n", "label_2 is empty in every row"),
        ("path,label,label_1,label_2\n0.png,x,y,y\n1.png,,y,y\n", "line 3: label is empty"),
        (
            "path,label_1,label_2\n0.png,cat,cat\n1.png,dog,catt\n",
            "unknown label_2 in .*list.csv, line 3: 'catt'; did you mean 'cat'.*not what most say of any sample; correct it, or leave",
        ),
        ("path,label_1,label_1,label_2\n0.png,x,x,x\n", "column label_1 occurs 2 times"),
        ("path,label_0,label_1,label_2\n0.png,x,x,x\n", "unknown column in .*'label_0'"),
        ("label_1,label_2\nx,x\n", "lacks the column path"),
    ],
)
def test_unusable(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BenchmarkError, match=message) as caught:
        read(written(tmp_path, text), tmp_path / "cache")
    assert "\n" not in str(caught.value)


def test_a_csv_that_changed(tmp_path: Path) -> None:
    path = written(tmp_path, "path,label_1,label_2\n0.png,x,x\n1.png,y,y\n")
    with pytest.raises(BenchmarkError, match=r"has changed since it was read: '3\.png' is missing or new"):
        raters_of(path, ["0.png", "3.png"], ("x", "y"), np.array([0, 1]))


def simulated(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True classes of 600 samples, labels of 5 raters (right in 80, 75, 70, 70 and 30 %), and forecasts that are right in about 75 %."""
    rng = np.random.default_rng(seed)
    true = rng.integers(0, 4, 600)
    right = rng.random((600, 5)) < [0.8, 0.75, 0.7, 0.7, 0.3]
    labels = np.where(right, true[:, None], (true[:, None] + rng.integers(1, 4, (600, 5))) % 4)
    labels[rng.random((600, 5)) < 0.3] = -1
    labels[:3] = -1  # nobody rated these
    logits = rng.normal(0, 1, (600, 4))
    logits[np.arange(600), true] += 1.7
    return true, labels, np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def test_crowdlab_finds_the_bad_rater_and_beats_majority_and_the_best_rater() -> None:
    true, labels, probabilities = simulated()
    before = tally([f"label_{number}" for number in range(1, 6)], labels, np.zeros(600, dtype=np.int64))
    after = crowdlab(before, probabilities)
    rated = (labels >= 0).any(axis=1)
    accuracy = (after.consensus == true)[rated].mean()
    assert after.rater_quality.argmin() == 4 and after.rater_quality[4] < after.rater_quality[:4].min() - 0.1
    assert accuracy > (before.consensus == true)[rated].mean() + 0.03
    best = labels[:, 0]
    assert accuracy > (best == true)[best >= 0].mean() + 0.03
    assert np.isnan(after.quality[:3]).all() and (after.consensus[:3] == 0).all()
    right = (after.consensus == true)[rated]
    assert after.quality[rated][right].mean() > after.quality[rated][~right].mean() + 0.1


def test_crowdlab_is_cleanlabs() -> None:
    from cleanlab.multiannotator import get_label_quality_multiannotator

    _, labels, probabilities = simulated(1)
    labels, probabilities = labels[(labels >= 0).any(axis=1)], probabilities[(labels >= 0).any(axis=1)]
    said = get_label_quality_multiannotator(np.where(labels < 0, np.nan, labels), probabilities, verbose=False)
    ours = crowdlab(tally("abcde", labels, np.zeros(len(labels), dtype=np.int64)), probabilities)
    assert ours.consensus.tolist() == said["label_quality"]["consensus_label"].tolist()
    assert ours.quality == pytest.approx(said["label_quality"]["consensus_quality_score"].to_numpy(), abs=1e-4)
    stats = said["annotator_stats"]
    for rater in range(5):
        assert ours.rater_quality[rater] == pytest.approx(stats.loc[rater, "annotator_quality"], abs=1e-4)
        assert ours.agreement[rater] == pytest.approx(stats.loc[rater, "agreement_with_consensus"], abs=1e-9)


def test_crowdlab_with_little_to_go_by() -> None:
    single = tally("ab", np.array([[0, -1], [-1, 1]]), np.array([0, 1]))
    assert crowdlab(single, np.full((2, 2), 0.5)) is single
    _, labels, probabilities = simulated(2)
    labels[:, 3] = -1  # a rater whose samples were all left out
    probabilities[:, 2] = 0  # a class that the forecast never names
    found = crowdlab(tally("abcde", labels, np.zeros(600, dtype=np.int64)), probabilities)
    assert np.isnan(found.rater_quality[3]) and np.isfinite(np.delete(found.rater_quality, 3)).all()
    assert np.isfinite(found.quality[3:][(labels[3:] >= 0).any(axis=1)]).all()
