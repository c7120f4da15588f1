"""The functions of `import wsi_lpd`: what they take, what they return, how they fail."""

import json
import sys
import types

import numpy as np
import pytest
import shapely
from PIL import Image
from random_run import image_folder, random_run
from tiny_slides import tissue_pixels, write_svs
from typer.testing import CliRunner

import wsi_lpd as wl
from wsi_lpd.errors import BatchError, ConfigError, FileError, ModelError, OptionError, OverlayError, SlideError
from wsi_lpd.images.resize import resize
from wsi_lpd.types import Size
from wsi_lpd_cli.main import app

SMALL = {"tile.patch_px": 48, "tile.tissue.preset": "everything"}
MAP = {"segment.tissue.preset": "everything", "segment.overlap": 0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slides")
    write_svs(folder / "a.svs", tissue_pixels(500, 380), mpp=0.25)
    write_svs(folder / "b.svs", tissue_pixels(460, 300), mpp=0.25)
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return random_run(tmp_path_factory.mktemp("runs") / "run", mpp=0.5, patch_px=64)


@pytest.fixture(scope="module")
def model(run):
    return wl.load_model(run, device="cpu")


def test_slides__come_as_path_folder_list_and_open_slide(folder, tmp_path):
    (tmp_path / "list.csv").write_text(f"slide,mpp\n{folder / 'a.svs'},0.5\n{folder / 'b.svs'},0.25\n")
    by_path = wl.tile([folder / "a.svs", str(folder / "b.svs")], tmp_path / "1", settings=SMALL)
    by_folder = wl.tile(folder, tmp_path / "2", settings=SMALL)
    assert [s.name for s in by_path.stores] == [s.name for s in by_folder.stores] == ["a.zarr", "b.zarr"]
    assert by_path.n_patches == by_folder.n_patches > 0
    mpps = {}
    for name, slides, scale in (
        ("list", tmp_path / "list.csv", tmp_path / "list.csv"),
        ("mapping", folder, {"a": 0.5}),
        ("number", folder, 0.5),
        ("slide", [wl.open_slide(folder / "a.svs", slide_mpp=0.5), folder / "b.svs"], None),
    ):
        tiled = wl.tile(slides, tmp_path / name, settings=SMALL, slide_mpp=scale)
        mpps[name] = [wl.PatchStore(store).meta.slide.mpp for store in tiled.stores]
    assert mpps == {"list": [0.5, 0.25], "mapping": [0.5, 0.25], "number": [0.5, 0.5], "slide": [0.5, 0.25]}


def test_tile__says_what_it_wrote_and_what_was_there(folder, tmp_path):
    lines = []
    tiled = wl.tile(folder, tmp_path, classes=["Tumor", "Stroma"], settings=SMALL, tell=lines.append)
    assert tiled.labels == tmp_path / "patches.csv"
    assert tiled.table.classes == ("Tumor", "Stroma")
    assert {r.status for r in tiled.reports.values()} == {"written"}
    assert len(lines) == 3
    again = wl.tile(folder, tmp_path, classes="Tumor,Stroma", settings=["tile.patch_px=48", *_texts(SMALL)])
    assert {r.status for r in again.reports.values()} == {"unchanged"}
    assert json.dumps(again.to_json())


def test_dry_run__writes_nothing(folder, tmp_path):
    planned = wl.tile(folder, tmp_path / "none", settings=SMALL, dry_run=True)
    assert not (tmp_path / "none").exists()
    assert planned.labels is None
    assert sum(f.n_patches for f in planned.forecasts) == wl.tile(folder, tmp_path / "o", settings=SMALL).n_patches


def test_one_failing_slide__raises_its_own_error_and_several_are_raised_together(folder, tmp_path):
    (tmp_path / "bad.svs").write_bytes(b"no slide")
    with pytest.raises(SlideError, match=r"bad\.svs"):
        wl.tile(tmp_path / "bad.svs", tmp_path / "o", settings=SMALL)
    with pytest.raises(BatchError, match=r"^1 of 2 failed: .*bad\.svs") as caught:
        wl.tile([tmp_path / "bad.svs", folder / "a.svs"], tmp_path / "o", settings=SMALL)
    assert "\n" not in str(caught.value)
    assert list(caught.value.failed) == [str(tmp_path / "bad.svs")]
    assert [store.name for store in caught.value.result.stores] == ["a.zarr"]
    kept = wl.tile([tmp_path / "bad.svs", folder / "a.svs"], tmp_path / "o", settings=SMALL, on_error="collect")
    assert list(kept.failed) == [str(tmp_path / "bad.svs")]


@pytest.mark.parametrize(
    ("error", "words", "call"),
    [
        (ModelError, ["segment", "s.svs", "--out", "m.geojson", "--model", "no"],
         lambda: wl.segment("s.svs", "m.geojson", model="no")),
        (OverlayError, ["segment", "s.svs", "--out", "m.shp"], lambda: wl.segment("s.svs", "m.shp")),
        (ConfigError, ["segment", "s.svs", "--out", "m.geojson", "--gate", "x"],
         lambda: wl.segment("s.svs", "m.geojson", gate="x")),
        (SlideError, ["tile", "s.svs"], lambda: wl.tile("s.svs")),
        (SlideError, ["tile", "s.svs", "--slide-mpp", "fine"], lambda: wl.tile("s.svs", slide_mpp="fine")),
        (OptionError, ["tile", "s.svs", "--classes", "A,,B"], lambda: wl.tile("s.svs", classes=["A", "", "B"])),
        (OptionError, ["tile", "s.svs", "--origin", "x"], lambda: wl.tile("s.svs", origin="x")),
        (OptionError, ["tile", "s.svs", "--workers", "2", "--scheduler", "tcp://h:1"],
         lambda: wl.tile("s.svs", workers=2, scheduler="tcp://h:1")),
        (OptionError, ["tile", "s.svs", "--workers", "2", "--dry-run"],
         lambda: wl.tile("s.svs", workers=2, dry_run=True)),
        (OptionError, ["evaluate", "--truth", "t.png"], lambda: wl.evaluate(truth="t.png")),
        (OptionError, ["evaluate", "p.png", "--truth", "t.png", "--slide-mpp", "0.5"],
         lambda: wl.evaluate("p.png", truth="t.png", slide_mpp=0.5)),
        (wl.WsiLpdError, ["evaluate", "p.png", "--truth", "t.png"], lambda: wl.evaluate("p.png", truth="t.png")),
        (wl.WsiLpdError, ["train", "--labels", "no.csv"], lambda: wl.train("no.csv")),
    ],
)  # fmt: skip
def test_errors__have_the_words_of_the_command(tmp_path, monkeypatch, capsys, error, words, call):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error) as caught:
        call()
    assert capsys.readouterr() == ("", "")
    result = CliRunner().invoke(app, words)
    assert result.exit_code == (2 if error is OptionError else 1)
    assert " ".join(str(caught.value).split()) in " ".join(result.stderr.split())
    assert list(tmp_path.iterdir()) == []


def test_what_the_system_refuses__is_an_error_of_ours(folder, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="file"):
        wl.tile(folder / "a.svs", tmp_path / "file" / "below", settings=SMALL)


def test_settings__do_not_change_a_configuration_that_is_no_file(folder, tmp_path):
    from wsi_lpd.config import load_config

    config = load_config(None, _texts(SMALL))
    assert wl.tile(folder / "a.svs", tmp_path, config=config).config.patch_px == 48
    with pytest.raises(OptionError, match="settings"):
        wl.tile(folder / "a.svs", tmp_path, config=config, settings=SMALL)


def test_predict__has_the_pixels_of_the_image_whatever_its_scale(model):
    rng = np.random.default_rng(3)
    image = np.clip(rng.normal(170, 40, (90, 133, 3)), 0, 255).astype(np.uint8)
    there = model.predict(image)
    assert there.class_map.shape == (90, 133)
    assert there.class_map.dtype == np.uint8
    assert there.probabilities.shape == (4, 90, 133)
    np.testing.assert_allclose(there.probabilities.sum(axis=0), 1, atol=1e-5)
    assert there.presence.shape == (3,)
    assert there.classes == ("Stroma", "Tumor", "Fat")
    of_class = there.probabilities[1:].argmax(axis=0) + 1
    np.testing.assert_array_equal(there.class_map, np.where(there.probabilities[0] > 0.5, 0, of_class))
    assert sum(there.shares.values()) == pytest.approx((there.class_map > 0).mean())
    for twice in (Image.fromarray(image), Image.fromarray(image).convert("RGBA")):
        np.testing.assert_array_equal(model.predict(twice, mpp=model.mpp).class_map, there.class_map)
    finer = model.predict(image, mpp=model.mpp / 2)
    assert finer.class_map.shape == (90, 133)
    seen = model.predict(resize(image, Size(66, 45)))  # what the network looks at
    np.testing.assert_array_equal(finer.presence, seen.presence)
    assert not np.array_equal(finer.presence, there.presence)


def test_predict__takes_gate_and_settings(model):
    image = np.random.default_rng(5).integers(60, 255, (70, 101, 3)).astype(np.uint8)
    gated, free = model.predict(image, gate="predicted"), model.predict(image, gate="none")
    np.testing.assert_array_equal(gated.presence, free.presence)
    assert np.abs(gated.probabilities - free.probabilities).max() > 1e-3
    turned = model.predict(image, settings={"segment.views": 8})
    assert np.abs(turned.presence - gated.presence).max() > 0


@pytest.mark.parametrize(
    "image",
    [np.zeros((5, 7), np.uint8), np.zeros((5, 7, 4), np.uint8), np.zeros((5, 7, 3)), np.zeros((0, 7, 3), np.uint8)],
)
def test_predict__refuses_what_is_no_rgb_picture(model, image):
    with pytest.raises(OptionError, match="expected RGB uint8"):
        model.predict(image)


@pytest.mark.parametrize("mpp", [0, -0.5, float("nan"), float("inf")])
def test_predict__refuses_a_scale_that_is_none(model, mpp):
    with pytest.raises(OptionError, match="micrometres per pixel above 0"):
        model.predict(np.full((9, 12, 3), 200, np.uint8), mpp=mpp)


def test_predict__warns_of_a_coarser_image(model, caplog):
    model.predict(np.full((20, 31, 3), 200, np.uint8), mpp=model.mpp)
    assert caplog.messages == []
    model.predict(np.full((20, 31, 3), 200, np.uint8), mpp=3 * model.mpp)
    assert caplog.messages == ["image has 1.5 um/px, coarser than the model's 0.5: it is enlarged"]


def test_a_loaded_model__stays_on_its_device(folder, tmp_path, model):
    with pytest.raises(OptionError, match="the model is on cpu"):
        wl.segment(folder / "a.svs", tmp_path / "m.geojson", model=model, device="meta", settings=MAP)
    with pytest.raises(OptionError, match="the model is on cpu"):
        wl.evaluate(model=model, truth=tmp_path, device="meta")


def test_a_loaded_model__writes_the_overlay_of_its_run(folder, tmp_path, model, run, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = model.segment(folder / "a.svs", settings=MAP)
    assert str(done.overlay) == "a.geojson"
    other = wl.segment(folder / "a.svs", "b.geojson", model=run, device="cpu", settings=MAP, mask="m.ome.tif")
    assert done.overlay.read_bytes() == other.overlay.read_bytes()
    (files,) = other.outputs.values()
    assert files.mask.is_file()
    again = model.segment(folder / "a.svs", settings=MAP)
    assert next(iter(again.summaries.values())).was_finished
    many = wl.segment(folder, "maps", model=model, settings=MAP)
    assert [path.name for path in many.overlays] == ["a.geojson", "b.geojson"]
    with pytest.raises(ValueError, match="too many"):
        many.overlay  # noqa: B018


def test_evaluate__of_a_loaded_model_is_that_of_its_run(tmp_path, model, run):
    truth = image_folder(tmp_path / "t")
    options = {"truth": truth, "classes": "Tumor,Stroma,Fat", "slide_mpp": 0.5, "draws": 20, "gate": "all"}
    loaded, named = wl.evaluate(model=model, **options), wl.evaluate(model=run, device="cpu", **options)
    assert loaded.metrics == named.metrics
    assert list(loaded.metrics["gates"]) == ["none", "predicted"]
    assert list(loaded.metrics["ceiling"]) == ["oracle"]
    assert loaded.scores("B", "none").miou == loaded.metrics["gates"]["none"]["protocols"]["B"]["miou"]
    assert loaded.files == ()


@pytest.fixture
def annotations(tmp_path):
    shapes = {"Tumor": [[0, 0], [30, 0], [30, 20], [0, 20], [0, 0]], "Stroma": [[40, 5], [90, 5], [90, 25], [40, 5]]}
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [ring]},
            "properties": {"classification": {"name": name, "color": [200, i, 0]}, "name": f"area {i}"},
        }
        for i, (name, ring) in enumerate(shapes.items())
    ]
    features.append({"type": "Feature", "geometry": features[0]["geometry"], "properties": {}})
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def test_an_overlay__is_shapely_and_geojson(annotations, tmp_path):
    import geojson

    overlay = wl.read_overlay(str(annotations))
    assert len(overlay) == 3
    assert overlay.classes == ("Tumor", "Stroma")
    assert overlay.colors["Stroma"] == (200, 1, 0)
    assert [(name, shape.area) for name, shape in overlay.to_shapely()] == [
        ("Tumor", 600),
        ("Stroma", 500),
        (None, 600),
    ]
    collection = overlay.to_geojson()
    assert collection.is_valid
    assert [f.properties.get("classification") for f in collection.features] == [
        {"name": "Tumor", "color": [200, 0, 0]},
        {"name": "Stroma", "color": [200, 1, 0]},
        None,
    ]
    (tmp_path / "b.geojson").write_text(geojson.dumps(collection))
    back = wl.read_overlay(tmp_path / "b.geojson")
    assert back.file.annotations[0].name == "area 0"
    for (name, shape), (name_back, shape_back) in zip(overlay.to_shapely(), back.to_shapely(), strict=True):
        assert name == name_back
        assert shapely.equals(shape, shape_back)


def test_an_overlay__is_a_geodataframe_where_geopandas_is_installed(annotations, monkeypatch):
    overlay = wl.read_overlay(annotations)
    monkeypatch.setitem(sys.modules, "geopandas", None)
    with pytest.raises(OptionError, match="geopandas is not installed"):
        overlay.to_geopandas()
    frames = types.SimpleNamespace(GeoDataFrame=lambda data, geometry: (data, geometry))
    monkeypatch.setitem(sys.modules, "geopandas", frames)
    columns, shapes = overlay.to_geopandas()
    assert columns == {"class_name": ["Tumor", "Stroma", None], "name": ["area 0", "area 1", None]}
    assert [shape.area for shape in shapes] == [600, 500, 600]


def test_open_slide__takes_the_scale_that_is_stated(folder):
    with wl.open_slide(folder / "a.svs", slide_mpp=0.31) as slide:
        assert slide.mpp == 0.31
    with wl.open_slide(str(folder / "a.svs")) as slide:
        assert slide.mpp == 0.25
    with pytest.raises(SlideError, match="--slide-mpp is -1"):
        wl.open_slide(folder / "a.svs", slide_mpp=-1)


def _texts(settings):
    return [f"{key}={value}" for key, value in settings.items()]
