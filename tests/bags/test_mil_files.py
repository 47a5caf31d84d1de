import logging
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmark.bags.mil_files import clam_layout, dsmil_layout, list_bags, load_bags, npz_layout
from benchmark.bags.slide_files import read_slide
from benchmark.errors import BenchmarkError

H5PY = "h5py is not installed; python -m pip install h5py"


def features(slide: str, n: int = 3, width: int = 4) -> np.ndarray:
    """(n, width) numbers that tell slides and tiles apart."""
    return (ord(slide[0]) + np.arange(n)[:, None] + np.arange(width) / 8).astype(np.float32)


def save(file: Path, values: np.ndarray, **more: np.ndarray) -> Path:
    """Features of one slide in the format of the ending."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == ".csv":
        header = ",".join(map(str, range(values.shape[1])))
        np.savetxt(file, values, fmt="%.4f", delimiter=",", header=header, comments="")
    elif file.suffix == ".npy":
        np.save(file, values)
    elif file.suffix == ".npz":
        np.savez(file, features=values, **more)
    elif file.suffix == ".pt":
        import torch

        torch.save(torch.from_numpy(values), file)
    else:
        import h5py

        with h5py.File(file, "w") as archive:
            for name, array in {"features": values, **more}.items():
                archive[name] = array
    return file


@pytest.fixture
def dsmil(tmp_path: Path) -> Path:
    """As compute_feats.py leaves it: paths from where it ran, in any order, and an index a class besides."""
    base = tmp_path / "datasets" / "C16"
    for slide, folder in (("n2", "0-normal"), ("n1", "0-normal"), ("t1", "1-tumor")):
        save(base / folder / f"{slide}.csv", features(slide, 2 + (slide == "t1")))
    rows = ("datasets/C16/1-tumor/t1.csv,1", "datasets/C16/0-normal/n1.csv,0", "datasets/C16/0-normal/n2.csv,0")
    (base / "C16.csv").write_text("0,label\n" + "\n".join(rows) + "\n")
    (base / "0-normal.csv").write_text("0,label\n" + "\n".join(rows[1:]) + "\n")
    return base


@pytest.fixture
def clam(tmp_path: Path) -> Path:
    for slide in ("n1", "n2", "t1", "t2"):
        save(tmp_path / "pt_files" / f"{slide}.pt", features(slide))
    (tmp_path / "set.csv").write_text(
        "case_id,slide_id,label\np1,t1,tumor_tissue\np1,n1,normal_tissue\np2,n2,normal_tissue\np3,t2,tumor_tissue\n"
    )
    return tmp_path


def with_h5(base: Path) -> Path:
    for row, slide in enumerate(("n1", "n2", "t1", "t2")):
        save(base / "h5_files" / f"{slide}.h5", features(slide), coords=np.array([[0, 0], [256, 0], [0, 256]], dtype=np.int32) + row)
    return base


# --------------------------------------------------------------------------------------------------------------- DSMIL


def test_dsmil_by_its_index(dsmil: Path) -> None:
    for listing in (dsmil_layout(dsmil), dsmil_layout(dsmil / "C16.csv"), list_bags(dsmil)):
        found = load_bags(listing)
        assert found.names == ("n1", "n2", "t1") and found.labels.tolist() == [0, 0, 1] and found.offsets.tolist() == [0, 2, 4, 7]
        assert np.array_equal(found.tiles, np.concatenate([features("n", 2), features("n", 2), features("t", 3)]))
        assert found.tiles.dtype == np.float32 and found.positions is None and found.tile_labels is None


def test_the_index_wins_over_the_folders(dsmil: Path) -> None:
    index = dsmil / "C16.csv"
    index.write_text("0,label,split,case_id\n1-tumor/t1.csv,0,train,p1\n0-normal/n1.csv,1,test,p2\nn2,1,val,p3\n")
    found = load_bags(dsmil_layout(dsmil))
    assert found.names == ("n1", "n2", "t1") and found.labels.tolist() == [1, 1, 0]
    assert found.split.tolist() == [2, 1, 0] and found.groups.tolist() == [1, 2, 0]


def test_class_folders_are_the_labels_where_there_is_no_index(dsmil: Path) -> None:
    (dsmil / "C16.csv").unlink()
    found = load_bags(dsmil_layout(dsmil))
    assert found.labels.tolist() == [0, 0, 1] and found.classes == ("0-normal", "1-tumor")
    (dsmil / "0-normal").rename(dsmil / "LUSC")
    (dsmil / "1-tumor").rename(dsmil / "LUAD")
    with pytest.raises(BenchmarkError, match="C16: labels are LUAD and LUSC; say which one is positive: positive=LUSC"):
        dsmil_layout(dsmil)
    assert dsmil_layout(dsmil, "LUSC").labels == (0, 1, 1) and dsmil_layout(dsmil, "LUAD").labels == (1, 0, 0)
    (dsmil / "LUAD").rename(dsmil / "cancer")
    (dsmil / "LUSC").rename(dsmil / "normal")  # sorted behind, but plainly negative
    assert dsmil_layout(dsmil).labels == (1, 0, 0)
    (dsmil / "cancer").rename(dsmil / "0-LUAD")
    (dsmil / "normal").rename(dsmil / "1-LUSC")
    assert dsmil_layout(dsmil).labels == (0, 1, 1)
    (dsmil / "0-LUAD").rename(dsmil / "0")
    (dsmil / "1-LUSC").rename(dsmil / "1")
    assert dsmil_layout(dsmil).labels == (0, 1, 1)


def test_positions_truth_and_an_index_column_in_a_csv(dsmil: Path) -> None:
    for slide, folder in (("n1", "0-normal"), ("n2", "0-normal"), ("t1", "1-tumor")):
        (dsmil / folder / f"{slide}.csv").write_text(f",0,1,x,y,label\n0,1.5,2,7,8,{int(slide == 't1')}\n1,3,4,9,10,0\n")
    found = load_bags(dsmil_layout(dsmil))
    assert found.tiles.tolist() == [[1.5, 2], [3, 4]] * 3
    assert found.positions.tolist() == [[7, 8], [9, 10]] * 3 and found.tile_labels.tolist() == [0, 0, 0, 0, 1, 0]


def test_a_csv_without_header_loses_no_tile(dsmil: Path) -> None:
    (dsmil / "1-tumor" / "t1.csv").write_text("0.5,1,2,3\n4,5,6,7\n")
    assert load_bags(dsmil_layout(dsmil)).tiles[-2:].tolist() == [[0.5, 1, 2, 3], [4, 5, 6, 7]]


@pytest.mark.parametrize("suffix", ["npy", "npz", "pt", "h5"])
def test_dsmil_folders_with_other_files(dsmil: Path, suffix: str) -> None:
    if suffix == "h5":
        pytest.importorskip("h5py", reason=H5PY)
    (dsmil / "1-tumor" / "t1.csv").unlink()
    save(dsmil / "1-tumor" / f"t1.{suffix}", features("t").astype(np.float16))
    assert np.array_equal(load_bags(dsmil_layout(dsmil)).tiles[-3:], features("t"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda base: save(base / "1-tumor/n1.csv", features("n")), "slide 'n1' occurs twice, as 0-normal/n1.csv and 1-tumor/n1.csv"),
        (lambda base: save(base / "1-tumor/t2.csv", features("t")), r"labels are missing for 't2'; add them to .*C16\.csv"),
        (lambda base: (base / "1-tumor/t1.csv").unlink(), r"C16\.csv, line 2: there are no features of 'datasets/C16/1-tumor/t1\.csv'"),
        (lambda base: (base / "C16.csv").write_text("0,label\na/n1.csv,0\n"), r"line 2: there are no features of 'a/n1\.csv'"),
        (lambda base: (base / "C16.csv").write_text("0,label\nn1,0\nn1,0\nn2,0\nt1,1\n"), r"C16\.csv: slide 'n1' occurs twice"),
        (lambda base: (base / "C16.csv").write_text("path,class\nn1,0\n"), "is no index of bags: its first line is path,class"),
        (lambda base: (base / "C16.csv").write_text("0,label\nn1,0\nn2,1\nt1,2\n"), "labels must be 0 and 1, .*; found 0, 1, 2"),
        (lambda base: (base / "C16.csv").write_text("0,label\nn1,0\nn2,0\nt1,0\n"), "none of 3 slides is positive"),
        (
            lambda base: (base / "C16.csv").write_text("0,label,split\nn1,0,train\nn1,0,test\nn2,0,val\nt1,1,val\n"),
            "slide 'n1' lies in train and in test",
        ),
        (lambda base: (base / "C16.csv").write_text("0,label,split\nn1,0,trian\nn2,0,val\nt1,1,val\n"), "did you mean 'train'"),
        (lambda base: save(base / "1-tumor/t1.csv", features("t", 3, 5)), "tiles of slide 't1' have 5 features where 2 of 3 slides have 4"),
        (lambda base: (base / "1-tumor/t1.csv").write_text("0,1,2,3\n1,2,nan,4\n"), "features of slide 't1' are NaN or infinite"),
        (lambda base: (base / "1-tumor/t1.csv").write_text("0,1,2,3\n1,2,,4\n"), "features of slide 't1' are NaN or infinite"),
        (lambda base: (base / "1-tumor/t1.csv").write_text("0,1,2,3\n"), r"t1\.csv cannot be read: it holds no tiles"),
        (lambda base: (base / "1-tumor/t1.csv").write_text(""), r"t1\.csv cannot be read: its first line is empty"),
        (
            lambda base: (base / "1-tumor/t1.csv").write_text("0,1,2,3\n1,2,3,4\n1,2,a,4\n"),
            r"t1\.csv cannot be read: 'a' in line 3 is no number",
        ),
        (lambda base: (base / "1-tumor/t1.csv").write_text("0,1,2,3\n1,2,3,4\n1,2,3,4,5\n"), r"t1\.csv cannot be read: "),
        (lambda base: (base / "1-tumor/t1.csv").write_text("0,1,2,3\n1,2,3\n"), "its rows have 3 fields where the first line has 4"),
        (lambda base: (base / "1-tumor/t1.csv").write_bytes(b"0,1,2,3\n\xff\xfe,1,2,3\n"), r"t1\.csv cannot be read: "),
        (lambda base: [(base / "1-tumor/t1.csv").unlink(), (base / "1-tumor/t1.npy").write_bytes(b"x")], "it is no npy array"),
        (lambda base: (base / "0-normal/n1.csv").write_text("0,1,2,3,label\n1,2,3,4,1\n"), "slide 'n1' is negative, but 1 of its tiles"),
        (lambda base: (base / "0-normal/n1.csv").write_text("0,1,2,3,label\n1,2,3,4,9\n"), r"n1\.csv cannot be read: tile labels are"),
    ],
)
def test_what_does_not_fit_dsmil(dsmil: Path, change, message: str) -> None:
    change(dsmil)
    with pytest.raises(BenchmarkError, match=message) as raised:
        load_bags(dsmil_layout(dsmil))
    assert "\n" not in str(raised.value) and "C16" in str(raised.value)


# ---------------------------------------------------------------------------------------------------------------- CLAM


def test_clam_tensors_labels_and_patients(clam: Path) -> None:
    for listing in (clam_layout(clam), list_bags(clam), clam_layout(clam, "set.csv"), clam_layout(clam, str(clam / "set.csv"))):
        found = load_bags(listing)
        assert found.names == ("n1", "n2", "t1", "t2") and found.labels.tolist() == [0, 0, 1, 1]
        assert found.classes == ("normal_tissue", "tumor_tissue") and found.groups.tolist() == [0, 1, 0, 2]
        assert found.split is None and found.positions is None
        assert np.array_equal(found.tiles, np.concatenate([features(name) for name in "nntt"]))


def test_clam_h5_knows_positions(clam: Path) -> None:
    pytest.importorskip("h5py", reason=H5PY)
    found = load_bags(clam_layout(with_h5(clam)))
    assert found.positions[:4].tolist() == [[0, 0], [256, 0], [0, 256], [1, 1]] and found.positions.dtype == np.int64


def test_clam_parts(clam: Path, caplog: pytest.LogCaptureFixture) -> None:
    (clam / "splits_0.csv").write_text(",train,val,test\n0,n1,n2,\n1,t1,,\n")
    with caplog.at_level(logging.WARNING):
        found = load_bags(clam_layout(clam))
    assert found.names == ("n1", "n2", "t1") and found.split.tolist() == [0, 1, 0]
    assert "in no part and left out: slide 't2'" in caplog.text
    (clam / "other.csv").write_text("train,val,test\nn1,n2,\nt1,,t2\n")
    assert clam_layout(clam, "set.csv", "other.csv").splits == ("train", "val", "train", "test")


def test_slide_ids_keep_their_zeros_and_dots(tmp_path: Path) -> None:
    for slide in ("007", "TCGA-1.uuid"):
        save(tmp_path / "pt_files" / f"{slide}.pt", features(slide))
    (tmp_path / "labels.csv").write_text("slide_id,label\n007.svs,1\nTCGA-1.uuid,0\n")
    assert clam_layout(tmp_path).names == ("007", "TCGA-1.uuid") and clam_layout(tmp_path).labels == (1, 0)


def test_which_word_is_positive_is_asked_for(clam: Path) -> None:
    table = clam / "set.csv"
    table.write_text(table.read_text().replace("tumor_tissue", "LUSC").replace("normal_tissue", "LUAD"))
    with pytest.raises(BenchmarkError, match="labels are LUAD and LUSC; say which one is positive: positive=LUSC"):
        clam_layout(clam)
    assert clam_layout(clam, positive="LUSC").labels == (0, 0, 1, 1) and clam_layout(clam, positive="LUAD").labels == (1, 1, 0, 0)
    with pytest.raises(BenchmarkError, match="unknown positive label 'LUSK'; did you mean 'LUSC'"):
        clam_layout(clam, positive="LUSK")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda base: (base / "set.csv").unlink(), "needs one csv with the columns slide_id and label; none is there"),
        (lambda base: (base / "b.csv").write_text("slide_id,label\n"), "b.csv, set.csv: give one of them as labels=FILE"),
        (lambda base: (base / "set.csv").write_text("slide_id,label\nn1,0\n"), "labels are missing for 'n2', 't1', 't2'; add them to"),
        (
            lambda base: (base / "set.csv").write_text("slide_id,label\nn1,0\nn2,0\nt1,1\nt2,1\nt3,1\n"),
            "labels 't3', of which there are no tiles",
        ),
        (lambda base: (base / "set.csv").write_text("slide_id,label\n"), "names no slides"),
        (lambda base: (base / "set.csv").write_text("slide_id,label\nn1,0\nn1,0\n"), "slide 'n1' occurs twice"),
        (lambda base: (base / "set.csv").write_text("slide_id,label\nn1,0\nn2,\n"), "line 3: label is empty"),
        (
            lambda base: (base / "splits_0.csv").write_text("train,val,test\nn1,n2,n1\nt1,t2,\n"),
            r"splits_0\.csv: slide 'n1' lies in train and in test",
        ),
        (lambda base: (base / "splits_0.csv").write_text("train,val,test\nn3,,\n"), "line 2: there is no slide 'n3' with a label"),
        (lambda base: (base / "splits_0.csv").write_text("train,val\nn1,n2\n"), "lacks the column test"),
        (lambda base: (base / "splits_0.csv").write_text("train,val,test\n"), "names no slide"),
        (
            lambda base: (base / "splits_0.csv").write_text("train,val,test\nn1,n2,t1\nt2,,\n"),
            "slides 'n1' and 't1' are of one patient, but the first lies in train and the second in test",
        ),
        (lambda base: (base / "pt_files/t1.pt").write_bytes(b"PK broken"), r"t1\.pt cannot be read: it is no file of plain tensors"),
        (lambda base: (base / "pt_files/t1.pt").write_bytes(b""), r"t1\.pt cannot be read: it is no file of plain tensors"),
        (lambda base: save(base / "pt_files/t1.pt", np.zeros((0, 4), np.float32)), r"t1\.pt cannot be read: it holds no tiles"),
        (
            lambda base: save(base / "pt_files/t1.pt", np.zeros(4, np.float32)),
            r"features are \(4,\) float32; expected \(tiles, D\) numbers",
        ),
        (lambda base: [file.unlink() for file in (base / "pt_files").iterdir()], "it should hold h5_files/<slide>.h5 or pt_files"),
    ],
)
def test_what_does_not_fit_clam(clam: Path, change, message: str) -> None:
    change(clam)
    with pytest.raises(BenchmarkError, match=message) as raised:
        load_bags(clam_layout(clam))
    assert "\n" not in str(raised.value) and str(clam) in str(raised.value)


def test_files_that_are_asked_for_must_be_there(clam: Path) -> None:
    with pytest.raises(BenchmarkError, match=r"there is no table of labels .*mine\.csv"):
        clam_layout(clam, "mine.csv")
    with pytest.raises(BenchmarkError, match=r"there is no table of parts .*mine\.csv"):
        clam_layout(clam, "", "mine.csv")


def test_a_tensor_file_is_never_unpickled(clam: Path) -> None:
    import torch

    class Trap:
        def __reduce__(self) -> tuple:
            return (Path.touch, (clam / "trapped",))

    torch.save({"features": Trap()}, clam / "pt_files/t1.pt")
    with pytest.raises(BenchmarkError, match=r"t1\.pt cannot be read: it is no file of plain tensors"):
        load_bags(clam_layout(clam))
    assert not (clam / "trapped").exists()
    torch.save({"features": torch.ones(2, 4), "name": "t1"}, clam / "pt_files/t1.pt")
    with pytest.raises(BenchmarkError, match="it holds dict where a tensor"):
        load_bags(clam_layout(clam))


def test_without_h5py_the_error_says_how_to_get_it(clam: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (clam / "h5_files").mkdir()
    for slide in ("n1", "n2", "t1", "t2"):
        (clam / "h5_files" / f"{slide}.h5").touch()
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(BenchmarkError, match=r"h5_files needs h5py to be read; install it: python -m pip install h5py$"):
        load_bags(clam_layout(clam))


def test_h5_that_cannot_be_used(clam: Path) -> None:
    h5py = pytest.importorskip("h5py", reason=H5PY)
    file = with_h5(clam) / "h5_files" / "t1.h5"

    def refused(message: str) -> None:
        with pytest.raises(BenchmarkError, match=rf"t1\.h5 cannot be read: {message}"):
            load_bags(clam_layout(clam))

    file.write_bytes(file.read_bytes()[:100])
    refused("")
    save(file, features("t"), coords=np.zeros((2, 2)))
    refused(r"coords are \(2, 2\) float64; expected x and y of 3 tiles")
    with h5py.File(file, "w") as archive:
        archive["imgs"] = np.zeros(3)
    refused("it holds imgs where features were expected")
    with h5py.File(file, "w") as archive:
        archive["features"] = h5py.ExternalLink("n1.h5", "features")
    refused("its features lie in another file")
    with h5py.File(file, "w") as archive:
        archive.create_dataset("features", (3, 4), "f4", external=[("outside.raw", 0, 48)])
    refused("its features lie in another file")


@pytest.mark.parametrize("target", ["n1.h5", "nothing.h5", "t1.h5"])
def test_no_step_of_a_link_leads_out_of_an_h5(clam: Path, target: str) -> None:
    h5py = pytest.importorskip("h5py", reason=H5PY)
    file = with_h5(clam) / "h5_files" / "t1.h5"
    for path in ("/other/features", "other/features", "/deep/more/features"):
        with h5py.File(file, "w") as archive:
            archive["other"] = h5py.ExternalLink(target, "/")
            archive.create_group("deep")["more"] = h5py.SoftLink("/other")
            archive["features"] = h5py.SoftLink(path)
        with pytest.raises(BenchmarkError, match=r"t1\.h5 cannot be read: its features lie in another file$"):
            read_slide(file)


def test_links_within_an_h5(clam: Path) -> None:
    h5py = pytest.importorskip("h5py", reason=H5PY)
    file = with_h5(clam) / "h5_files" / "t1.h5"
    for path, message in (
        ("/deep/more/values", ""),
        ("./deep/again/values", ""),
        ("deep", "are no array"),
        ("/nowhere", "are a link to nothing"),
        ("features", "are a link without end"),
    ):
        with h5py.File(file, "w") as archive:
            archive["deep/more/values"] = features("t")
            archive["deep"]["again"] = h5py.SoftLink("more")
            archive["features"] = h5py.SoftLink(path)
        if not message:
            assert np.array_equal(read_slide(file).features, features("t"))
            continue
        with pytest.raises(BenchmarkError, match=rf"t1\.h5 cannot be read: its features {message}$"):
            read_slide(file)


# ----------------------------------------------------------------------------------------------------------------- npz


@pytest.fixture
def archives(tmp_path: Path) -> Path:
    for slide in ("n1", "t1"):
        save(tmp_path / f"{slide}.npz", features(slide, 2), coords=np.array([[1, 2], [3, 4]]))
    (tmp_path / "labels.csv").write_text("slide,label,split\nn1,0,train\nt1,1,test\n")
    return tmp_path


def test_npz_with_truth_where_it_is_known(archives: Path) -> None:
    save(archives / "t1.npz", features("t", 2), coords=np.array([[1, 2], [3, 4]]), tile_labels=np.array([0, 1]))
    for listing in (npz_layout(archives), list_bags(archives)):
        found = load_bags(listing)
        assert found.names == ("n1", "t1") and found.split.tolist() == [0, 2] and found.positions.tolist() == [[1, 2], [3, 4]] * 2
        assert found.tile_labels.tolist() == [-1, -1, 0, 1]


def test_positions_are_all_or_none(archives: Path, caplog: pytest.LogCaptureFixture) -> None:
    save(archives / "t1.npz", features("t", 2))
    with caplog.at_level(logging.WARNING):
        assert load_bags(npz_layout(archives)).positions is None
    assert "positions are left out, because slide 't1' has none" in caplog.text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda base: (base / "t1.npz").write_bytes(b"no archive"), r"t1\.npz cannot be read: it is no npz archive"),
        (lambda base: (base / "t1.npz").write_bytes((base / "t1.npz").read_bytes()[:99]), r"t1\.npz cannot be read: it is no npz archive"),
        (lambda base: (base / "t1.npz").write_bytes(b""), r"t1\.npz cannot be read: it is no npz archive"),
        (lambda base: np.savez(base / "t1.npz", x=np.zeros(3)), "it holds x where features were expected"),
        (lambda base: np.savez(base / "t1.npz", features=np.array([{}], dtype=object)), "Object arrays cannot be loaded"),
        (lambda base: np.savez(base / "t1.npz", features=np.array([["a"]])), r"features are \(1, 1\) <U1"),
        (
            lambda base: save(base / "t1.npz", features("t", 2), tile_labels=np.array([0])),
            r"tile labels are \(1,\) int64; .* each of 2 tiles",
        ),
        (lambda base: (base / "labels.csv").unlink(), "needs one csv with the columns slide_id and label"),
    ],
)
def test_npz_that_cannot_be_used(archives: Path, change, message: str) -> None:
    change(archives)
    with pytest.raises(BenchmarkError, match=message) as raised:
        load_bags(npz_layout(archives))
    assert "\n" not in str(raised.value)


# ----------------------------------------------------------------------------------------------------------------- all


def test_a_folder_of_no_layout(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(BenchmarkError, match=r"not laid out as expected: .*h5_files.*; found notes\.txt"):
        list_bags(tmp_path)
    with pytest.raises(BenchmarkError, match="does not exist; give a folder with"):
        list_bags(tmp_path / "nothing")
    with pytest.raises(BenchmarkError, match="unknown layout 'clamm'; did you mean 'clam'"):
        list_bags(tmp_path, "clamm")
    for layout, expected in (("dsmil", r"NAME\.csv and"), ("clam", "h5_files"), ("npz", r"<slide>\.npz")):
        with pytest.raises(BenchmarkError, match=f"it should hold {expected}"):
            list_bags(tmp_path, layout)


def test_links_out_of_the_folder_are_refused(clam: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = save(tmp_path_factory.mktemp("outside") / "t1.pt", features("t"))
    (clam / "pt_files/t1.pt").unlink()
    (clam / "pt_files/t1.pt").symlink_to(outside)
    with pytest.raises(BenchmarkError, match=r"pt_files/t1\.pt leads out of"):
        clam_layout(clam)
    (clam / "pt_files").rename(clam / "other")
    (clam / "pt_files").symlink_to(outside.parent)
    with pytest.raises(BenchmarkError, match="pt_files leads out of"):
        clam_layout(clam)


def test_the_fingerprint_follows_files_and_labels_and_reads_neither(archives: Path) -> None:
    (archives / "t1.npz").write_bytes(b"cannot be read")
    first = npz_layout(archives).fingerprint()
    assert npz_layout(archives).fingerprint() == first
    (archives / "labels.csv").write_text("slide,label,split\nn1,1,train\nt1,0,test\n")
    swapped = npz_layout(archives).fingerprint()
    (archives / "t1.npz").write_bytes(b"cannot be read either")
    assert len({first, swapped, npz_layout(archives).fingerprint()}) == 3
