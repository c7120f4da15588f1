"""Strips on disk: what goes in comes out, and a folder is gone on with only for the same map."""

import numpy as np
import pytest

from wsi_lpd.errors import OverlayError
from wsi_lpd.overlay.raster.strips import Strip
from wsi_lpd.segmentation.strip_store import StripStore, remove_working_folder
from wsi_lpd.segmentation.strips import StripGrid

GRID = StripGrid(height=11, width=7, n_classes=2, strip_rows=4)
IDENTITY = {"slide": "sha256:1", "settings": {"overlap": 0.5, "views": 1}, "downsample": 8.1}


def strip(index, *, seed=0):
    rng = np.random.default_rng((seed, index))
    return Strip(*(rng.integers(0, 255, shape, np.uint8) for shape in GRID.shapes_of(index)))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "map.geojson.partial"


def filled(folder, count=3, **changes):
    store = StripStore(folder, GRID, IDENTITY | changes)
    for index in range(len(store), count):
        store.write(index, strip(index))
    return store


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_strips__come_back_as_often_as_they_are_asked_for(folder):
    store = filled(folder)
    assert [part.shape for part in store[2]] == [(3, 7), (3, 3, 7), (3, 7)]
    for _ in range(2):
        assert all(same(store[i], strip(i)) for i in range(3))
        assert len(list(store)) == 3
        for labels, whole in zip(store.label_strips, store, strict=True):
            np.testing.assert_array_equal(labels, whole.labels)
    assert same(store[-1], strip(2))
    with pytest.raises(IndexError):
        store[3]


def test_a_store_of_the_same_map__goes_on(folder, caplog):
    filled(folder, 2)
    (folder / ".0123abcd.000002.strip").write_bytes(b"half")
    store = StripStore(folder, GRID, dict(reversed(IDENTITY.items())))
    assert len(store) == 2
    assert same(store[1], strip(1))
    assert not list(folder.glob(".*"))
    assert not caplog.records


def test_a_missing_strip__ends_the_row_and_those_behind_it_are_kept(folder):
    filled(folder)
    (folder / "000001.strip").unlink()
    store = StripStore(folder, GRID, IDENTITY)
    assert (len(store), store.missing) == (1, [1])
    store.write(1, strip(1))
    assert (len(store), store.missing) == (3, [])
    assert all(same(store[i], strip(i)) for i in range(3))


def test_who_joins__leaves_alone_what_others_are_writing(folder):
    filled(folder, 1)
    others = folder / ".0123abcd.000001.strip"
    others.write_bytes(b"half")
    store = StripStore(folder, GRID, IDENTITY, joins=True)
    assert store.missing == [1, 2]
    store.write(2, strip(2))
    assert others.exists()
    assert StripStore(folder, GRID, IDENTITY).missing == [1]
    assert not others.exists()


def test_a_strip_of_a_task_that_nobody_waits_for__gets_into_no_other_map(folder, monkeypatch):
    StripStore(folder, GRID, IDENTITY)
    old = StripStore(folder, GRID, IDENTITY, joins=True)
    new = StripStore(folder, GRID, IDENTITY | {"downsample": 8.2})
    with pytest.raises(OverlayError, match="holds a map with another downsample"):
        old.write(1, strip(1))
    # As if the folder were begun anew right behind the question.
    monkeypatch.setattr(old, "_is_same", lambda: StripStore(folder, GRID, IDENTITY | {"downsample": 8.4}) is not None)
    with pytest.raises(FileNotFoundError):
        old.write(1, strip(1))
    assert [path.name for path in folder.iterdir()] == ["strips.json"]
    new.remove()
    with pytest.raises(FileNotFoundError):
        old.write(1, strip(1))
    assert not folder.exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"slide": "sha256:2"}, "slide"),
        ({"settings": {"overlap": 0.5, "views": 8}}, "settings.views"),
        ({"downsample": 8.2, "settings": {"views": 1}}, "downsample, settings.overlap"),
    ],
)
def test_a_store_of_another_map__begins_anew_and_says_why_in_one_line(folder, caplog, change, told):
    filled(folder)
    assert len(StripStore(folder, GRID, IDENTITY | change)) == 0
    assert [record.getMessage() for record in caplog.records] == [
        f"map.geojson.partial: was started with another {told}; starting over"
    ]
    assert [path.name for path in folder.iterdir()] == ["strips.json"]


def test_a_folder_without_its_description__begins_anew(folder):
    filled(folder)
    (folder / "strips.json").write_text("{")
    assert len(filled(folder, 1)) == 1


def test_what_is_no_working_folder__is_never_removed(folder):
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    for begin in (lambda: filled(folder), lambda: remove_working_folder(folder)):
        with pytest.raises(OverlayError, match="exists and is not a working folder"):
            begin()
    assert (folder / "thesis.txt").exists()


@pytest.mark.parametrize("damage", [lambda data: data[:-3], lambda data: data[:10], lambda data: data[::-1]])
def test_a_damaged_strip__is_named(folder, damage):
    store = filled(folder)
    path = folder / "000001.strip"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(OverlayError, match=r"000001\.strip: is damaged .*--overwrite"):
        _ = store[1]


def test_a_flipped_bit__is_found(folder):
    store = filled(folder)
    path = folder / "000000.strip"
    data = bytearray(path.read_bytes())
    for place in range(len(data)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 8]) + data[place + 1 :])
        with pytest.raises(OverlayError, match="is damaged"):
            _ = store[0]
    path.write_bytes(data)
    assert same(store[0], strip(0))


def test_a_strip_of_another_shape__is_refused(folder):
    store = filled(folder, 2)
    with pytest.raises(ValueError, match="strip 2 has shapes"):
        store.write(2, strip(0))
    assert len(store) == 2
