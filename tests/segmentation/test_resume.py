"""A run that was stopped goes on, and ends with the same bytes as one that was not."""

import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from colour_predictor import ColourPredictor, MoodyPredictor, everywhere, landmarks

from wsi_lpd.config import SegmentConfig, TissueConfig
from wsi_lpd.errors import BusyError, OverlayError, SlideError
from wsi_lpd.lock import locked
from wsi_lpd.segmentation import job as job_module
from wsi_lpd.segmentation import plan as plan_module
from wsi_lpd.segmentation import slide_map as map_module
from wsi_lpd.segmentation.job import SegmentJob
from wsi_lpd.segmentation.outputs import Outputs
from wsi_lpd.segmentation.plan import plan_map
from wsi_lpd.segmentation.segmenter import segment_slide
from wsi_lpd.segmentation.strip_store import StripStore
from wsi_lpd.segmentation.strips import StripGrid
from wsi_lpd.slide import TissueMask, open_slide

CONFIG = SegmentConfig(overlap=0.25, batch_size=7, min_area_um2=0, tissue=TissueConfig(preset="everything"))
STRIP_ROWS = 24


@pytest.fixture(autouse=True)
def low_strips(monkeypatch):
    monkeypatch.setattr(plan_module, "StripGrid", lambda *sizes: StripGrid(*sizes, strip_rows=STRIP_ROWS))


@pytest.fixture
def slide_path(write_slide):
    return write_slide(landmarks(noise=3)[:, 400:])


def outputs_in(folder):
    return Outputs(folder / "map.geojson", folder / "map.ome.tif", folder / "map.png")


def files_of(outputs):
    return [path.read_bytes() for path in outputs.all()]


def job_of(config=CONFIG, predictor=None):
    return SegmentJob(MoodyPredictor(mpp=0.61) if predictor is None else predictor, Path("run"), config)


def patchy(slide):
    """Tissue with wide gaps, sidewards and from top to bottom."""
    mask = np.zeros((41, 65), bool)
    mask[3:14, 5:30] = mask[25:27, 20:60] = mask[36:, 40:45] = True
    return TissueMask(mask, slide.size_px.width / 65, slide.size_px.height / 41)


@pytest.mark.parametrize("where", [everywhere, patchy])
@pytest.mark.parametrize(("overlap", "offset"), [(0.5, 0), (0.3, 20), (0.0, 0)])
def test_strips__are_the_same_whichever_are_asked_for(slide_path, where, overlap, offset):
    config = CONFIG.model_copy(update={"overlap": overlap, "grid_offset_px": offset})
    predictor = MoodyPredictor(mpp=0.61)
    with open_slide(slide_path) as slide:
        tissue = where(slide)
        plan = plan_map(slide, tissue, predictor, config)
        whole = list(segment_slide(slide, tissue, predictor, config, plan=plan))
        assert len(whole) == len(plan.strips) > 5
        assert any(strip.labels.any() for strip in whole)
        ranges = [(first, None) for first in range(1, len(whole) + 1)]
        ranges += [(first, min(first + 2, len(whole))) for first in range(len(whole))]
        for first, end in ranges:
            chosen = list(segment_slide(slide, tissue, predictor, config, plan=plan, first=first, end=end))
            for one, other in zip(whole[first:end], chosen, strict=True):
                for a, b in zip(one, other, strict=True):
                    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("index", [0, 2, -1])
def test_a_strip_alone__costs_the_windows_that_reach_it_and_less_than_two_batches(slide_path, index):
    predictor = ColourPredictor()
    with open_slide(slide_path) as slide:
        tissue = everywhere(slide)
        plan = plan_map(slide, tissue, predictor, CONFIG)
        first = range(len(plan.strips))[index]
        top, bottom = plan.strips.rows_of(first)
        tops = [place.top // plan.stride for place in plan.places]
        reaching = sum(top - plan.side < place < bottom for place in tops)
        list(segment_slide(slide, tissue, predictor, CONFIG, plan=plan, first=first, end=first + 1))
    assert 0 < reaching <= predictor.n_seen <= reaching + 2 * (CONFIG.batch_size - 1)
    assert reaching < len(tops)


class StopsAfter(StripStore):
    """Fails when so many strips are there."""

    n_strips = 3
    error = OSError

    def write(self, index, strip):
        if index == self.n_strips:
            raise self.error("stopped")
        super().write(index, strip)


@pytest.mark.parametrize("n_strips", [0, 1, 4])
@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_stopped_run__goes_on_and_writes_the_same_bytes(tmp_path, slide_path, monkeypatch, caplog, n_strips, error):
    whole, stopped = outputs_in(tmp_path / "whole"), outputs_in(tmp_path / "stopped")
    told = job_of().run(str(slide_path), whole)
    with monkeypatch.context() as context:
        context.setattr(StopsAfter, "n_strips", n_strips)
        context.setattr(StopsAfter, "error", error)
        context.setattr(map_module, "StripStore", StopsAfter)
        with pytest.raises(error):
            job_of().run(str(slide_path), stopped)
    assert len(list(stopped.working_folder.glob("*.strip"))) == n_strips
    assert not [t for t in threading.enumerate() if t.name.startswith(("ahead", "read"))]
    predictor = MoodyPredictor(mpp=0.61)
    again = job_of(predictor=predictor).run(str(slide_path), stopped)
    assert (again.area_mm2, again.n_regions) == (told.area_mm2, told.n_regions)
    assert files_of(stopped) == files_of(whole)
    assert sorted(p.name for p in (tmp_path / "stopped").iterdir()) == ["map.geojson", "map.ome.tif", "map.png"]
    assert n_strips == 0 or predictor.n_seen < told.n_windows
    assert not [r for r in caplog.records if r.levelname == "WARNING"]


def test_strips_behind_a_gap__are_kept_and_the_same_bytes_are_written(tmp_path, slide_path, caplog):
    """As workers leave them that each make a block of one slide."""
    whole, left = outputs_in(tmp_path / "whole"), outputs_in(tmp_path / "left")
    told = job_of().run(str(slide_path), whole)
    job = job_of()
    work_left = job.begin(str(slide_path), left)
    assert list(work_left.missing) == list(range(len(work_left.missing)))
    assert len(work_left.missing) > 5
    last = work_left.missing[-1]
    for block in (range(1, 2), range(last - 1, last + 1)):
        job.make_block(str(slide_path), left, block)
    kept = {path: path.stat().st_mtime_ns for path in left.working_folder.glob("*.strip")}
    assert sorted(path.name for path in kept) == [f"{i:06d}.strip" for i in (1, last - 1, last)]
    written = []
    with pytest.MonkeyPatch.context() as context:
        original = StripStore.write
        context.setattr(StripStore, "write", lambda *args: written.append(args[1]) or original(*args))
        again = job_of().run(str(slide_path), left)
    assert written == [0, *range(2, last - 1)]
    assert (again.area_mm2, again.n_regions) == (told.area_mm2, told.n_regions)
    assert files_of(left) == files_of(whole)
    assert not [r for r in caplog.records if r.levelname == "WARNING"]


def in_blocks(slide_path, outputs, job, **options):
    work_left = job.begin(slide_path, outputs, **options)
    for block in reversed(work_left.blocks(3)):
        job.make_block(slide_path, outputs, block)
    return work_left


def test_blocks_in_any_order__give_the_files_of_one_run_also_if_they_are_finished_twice(tmp_path, slide_path):
    whole, shared = outputs_in(tmp_path / "whole"), outputs_in(tmp_path / "shared")
    told = job_of().run(str(slide_path), whole)
    predictor = MoodyPredictor(mpp=0.61)
    job = job_of(predictor=predictor)
    work_left = in_blocks(str(slide_path), shared, job)
    n_seen = predictor.n_seen
    assert len(work_left.blocks(3)) > 1
    assert told.n_windows < n_seen < 2 * told.n_windows
    summary = job.finish(str(slide_path), shared, work_left)
    assert (summary.n_regions, summary.area_mm2, summary.was_finished) == (told.n_regions, told.area_mm2, False)
    assert predictor.n_seen == n_seen
    assert files_of(shared) == files_of(whole)
    assert job.finish(str(slide_path), shared, work_left).was_finished
    assert job.begin(str(slide_path), shared).was_finished
    assert sorted(p.name for p in (tmp_path / "shared").iterdir()) == ["map.geojson", "map.ome.tif", "map.png"]


def test_overwrite_in_blocks__replaces_the_files_at_the_end(tmp_path, slide_path):
    whole, shared = outputs_in(tmp_path / "whole"), outputs_in(tmp_path / "shared")
    other = CONFIG.model_copy(update={"gate": "none"})
    job_of(other).run(str(slide_path), whole)
    job_of().run(str(slide_path), shared)
    before = files_of(shared)
    work_left = in_blocks(str(slide_path), shared, job_of(other), overwrite=True)
    assert files_of(shared) == before != files_of(whole)
    assert not job_of(other).finish(str(slide_path), shared, work_left, overwrite=True).was_finished
    assert files_of(shared) == files_of(whole)


def test_a_block__is_refused_where_another_map_has_been_begun(tmp_path, slide_path):
    outputs = outputs_in(tmp_path)
    with pytest.raises(OverlayError, match="is gone; another run has ended or replaced it"):
        job_of().make_block(str(slide_path), outputs, range(2))
    assert not outputs.working_folder.exists()
    job_of(CONFIG.model_copy(update={"gate": "none"})).begin(str(slide_path), outputs)
    with pytest.raises(OverlayError, match=r"holds a map with another settings\.gate"):
        job_of().make_block(str(slide_path), outputs, range(2))
    assert not list(outputs.working_folder.glob("*.strip"))


def test_a_slide_in_blocks__is_warned_of_once(tmp_path, slide_path, monkeypatch, caplog):
    outputs = outputs_in(tmp_path)
    monkeypatch.setattr(map_module, "find_tissue", lambda slide, _: TissueMask(np.zeros((5, 7), bool), 200.0, 200.0))
    job = job_of()
    work_left = job.begin(str(slide_path), outputs)
    for block in work_left.blocks(2):
        job.make_block(str(slide_path), outputs, block)
    summary = job.finish(str(slide_path), outputs, work_left)
    assert (summary.n_windows, summary.n_regions) == (0, 0)
    assert [r.getMessage() for r in caplog.records if r.levelname == "WARNING"] == [
        f"{slide_path}: no tissue found; the overlay will be empty"
    ]


def test_a_run_stopped_while_files_are_written__looks_at_nothing_again(tmp_path, slide_path, monkeypatch):
    whole, stopped = outputs_in(tmp_path / "whole"), outputs_in(tmp_path / "stopped")
    with monkeypatch.context() as context:
        context.setattr(job_module, "write_streamed_overlay", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            job_of().run(str(slide_path), stopped)
    assert (stopped.working_folder / "sieved.labels").exists()
    predictor = MoodyPredictor(mpp=0.61)
    coarser = CONFIG.model_copy(update={"min_area_um2": 900})  # the map is gone on with, what was sieved of it is not
    job_of(coarser, predictor).run(str(slide_path), stopped)
    assert predictor.n_seen == 0
    assert not stopped.working_folder.exists()
    job_of(coarser).run(str(slide_path), whole)
    assert files_of(stopped) == files_of(whole)


def test_what_a_killed_run_left_of_its_files__goes_and_nothing_else(tmp_path, slide_path):
    outputs = outputs_in(tmp_path)
    left = [tmp_path / f".0a1b2c3d.map.{ending}" for ending in ("geojson", "ome.tif", "png")]
    kept = [tmp_path / name for name in (".notes.map.geojson", ".0a1b2c3d.map2.geojson", "0a1b2c3d.map.geojson")]
    for path in (*left, *kept):
        path.write_bytes(b"half")
    job_of().run(str(slide_path), outputs)
    assert sorted(tmp_path.glob("*map*")) == sorted([*kept, *outputs.all()])


def stopped_run(slide_path, outputs, monkeypatch, config=CONFIG, predictor=None):
    with monkeypatch.context() as context:
        context.setattr(map_module, "StripStore", StopsAfter)
        with pytest.raises(OSError, match="stopped"):
            job_of(config, predictor).run(str(slide_path), outputs)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"overlap": 0.5}, "settings.overlap"),
        ({"gate": "none"}, "settings.gate"),
        ({"batch_size": 5}, "settings.batch_size"),
        ({"output_stride": 2}, "grid.height, grid.width, map_mpp, settings.output_stride"),
    ],
)
def test_another_setting__begins_anew_with_one_warning(tmp_path, slide_path, monkeypatch, caplog, change, told):
    outputs = outputs_in(tmp_path)
    stopped_run(slide_path, outputs, monkeypatch)
    predictor = MoodyPredictor(mpp=0.61)
    summary = job_of(CONFIG.model_copy(update=change), predictor).run(str(slide_path), outputs)
    assert predictor.n_seen == summary.n_windows
    warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert warnings == [f"map.geojson.partial: was started with another {told}; starting over"]


def test_another_model_slide_or_scale__begins_anew(tmp_path, slide_path, write_slide, monkeypatch, caplog):
    outputs = outputs_in(tmp_path)
    stopped_run(slide_path, outputs, monkeypatch)
    other_model = MoodyPredictor(mpp=0.61)
    other_model.identity = {"weights_sha256": "2"}
    stopped_run(slide_path, outputs, monkeypatch, predictor=other_model)
    stopped_run(write_slide(landmarks(noise=4)[:, 400:], name="two.svs"), outputs, monkeypatch, predictor=other_model)
    assert [r.getMessage().split("another ")[1] for r in caplog.records if r.levelname == "WARNING"] == [
        "model.weights_sha256; starting over",
        "slide.fingerprint; starting over",
    ]


def test_settings_of_the_outlines_only__go_on(tmp_path, slide_path, monkeypatch, caplog):
    outputs = outputs_in(tmp_path)
    stopped_run(slide_path, outputs, monkeypatch)
    changed = CONFIG.model_copy(update={"simplify": 0, "merge": True, "min_area_um2": 900, "origin": "level0"})
    predictor = MoodyPredictor(mpp=0.61)
    summary = job_of(changed, predictor).run(str(slide_path), outputs)
    assert predictor.n_seen < summary.n_windows
    assert not [r for r in caplog.records if r.levelname == "WARNING"]


def test_overwrite__begins_anew_whatever_is_there(tmp_path, slide_path, monkeypatch, caplog):
    outputs = outputs_in(tmp_path)
    stopped_run(slide_path, outputs, monkeypatch)
    predictor = MoodyPredictor(mpp=0.61)
    summary = job_of(predictor=predictor).run(str(slide_path), outputs, overwrite=True)
    assert predictor.n_seen == summary.n_windows
    before = files_of(outputs)
    job_of().run(str(slide_path), outputs, overwrite=True)
    assert files_of(outputs) == before
    assert not [r for r in caplog.records if r.levelname == "WARNING"]


def test_finished_files__are_left_alone_and_a_forgotten_folder_goes(tmp_path, slide_path):
    outputs = outputs_in(tmp_path)
    job_of().run(str(slide_path), outputs)
    before = files_of(outputs)
    outputs.working_folder.mkdir()  # killed after the last file, before the folder was removed
    (outputs.working_folder / "000000.strip").touch()
    assert job_of().run(str(slide_path), outputs).was_finished
    assert not outputs.working_folder.exists()
    assert files_of(outputs) == before


def test_something_else_of_the_folders_name__stops_the_run(tmp_path, slide_path):
    outputs = outputs_in(tmp_path)
    outputs.working_folder.mkdir()
    (outputs.working_folder / "thesis.txt").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(OverlayError, match="exists and is not a working folder"):
            job_of().run(str(slide_path), outputs, overwrite=overwrite)
    assert (outputs.working_folder / "thesis.txt").exists()


def test_an_output_that_another_process_writes__is_left_to_it(tmp_path, slide_path, monkeypatch):
    outputs = outputs_in(tmp_path)
    stopped_run(slide_path, outputs, monkeypatch)
    with locked(outputs.overlay), pytest.raises(BusyError, match=r"map\.geojson: process .* is writing it"):
        job_of().run(str(slide_path), outputs, overwrite=True)
    assert len(list(outputs.working_folder.glob("*.strip"))) == StopsAfter.n_strips
    assert job_of().run(str(slide_path), outputs).n_windows > 0
    assert not list(tmp_path.glob("*.lock"))


@pytest.mark.parametrize("stage", ["read", "predict"])
def test_an_error_in_a_thread__is_told_and_ends_them_all(tmp_path, slide_path, monkeypatch, stage):
    predictor = MoodyPredictor(mpp=0.61)
    calls = []

    def broken(*args, **options):
        calls.append(args)
        if len(calls) > 2:
            raise SlideError("damaged")
        return original(*args, **options)

    owner = {"read": "wsi_lpd.slide.slide.Slide.read", "predict": "colour_predictor.MoodyPredictor.predict"}[stage]
    original = {"read": open_slide(slide_path).__class__.read, "predict": MoodyPredictor.predict}[stage]
    monkeypatch.setattr(owner, broken)
    with pytest.raises(SlideError, match="damaged"):
        job_of(predictor=predictor).run(str(slide_path), outputs_in(tmp_path))
    assert not [t for t in threading.enumerate() if t.name.startswith(("ahead", "read"))]
    assert not list(tmp_path.glob("*.lock"))


def test_strips_that_nobody_takes__do_not_pile_up(slide_path):
    predictor = ColourPredictor()
    with open_slide(slide_path) as slide:
        tissue = everywhere(slide)
        plan = plan_map(slide, tissue, predictor, CONFIG)
        with closing(segment_slide(slide, tissue, predictor, CONFIG, plan=plan)) as strips:
            next(strips)
            threading.Event().wait(0.5)
            assert predictor.n_seen < 0.8 * len(plan.places)


# --- kill -9 -----------------------------------------------------------------------------------------------------

SCRIPT = textwrap.dedent(
    """
    import json, os, signal, sys
    from pathlib import Path

    slide, out, tests, config, rows, moment = sys.argv[1:]
    sys.path.insert(0, tests)
    from colour_predictor import MoodyPredictor
    from wsi_lpd.config import SegmentConfig
    from wsi_lpd.segmentation import plan
    from wsi_lpd.segmentation.job import SegmentJob
    from wsi_lpd.segmentation.outputs import Outputs
    from wsi_lpd.segmentation.strips import StripGrid

    plan.StripGrid = lambda *sizes: StripGrid(*sizes, strip_rows=int(rows))
    left = int(moment)

    def die_when_due(event, args):
        global left
        if event == "os.rename":  # everything is written to a temporary name and renamed
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(die_when_due)
    print("begins", flush=True)
    out = Path(out)
    job = SegmentJob(MoodyPredictor(mpp=0.61), Path("run"), SegmentConfig.model_validate(json.loads(config)))
    job.run(slide, Outputs(out / "map.geojson", out / "map.ome.tif", out / "map.png"))
    """
)


def start(tmp_path, slide_path, out, moment=0):
    script = tmp_path / "segment_and_die.py"
    script.write_text(SCRIPT)
    words = [script, slide_path, out, Path(__file__).parents[1], CONFIG.model_dump_json(), STRIP_ROWS, moment]
    process = subprocess.Popen(
        [sys.executable, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "begins\n", process.communicate()[1]
    return process


def test_kill__the_same_command_again_gives_the_same_files(tmp_path, slide_path):
    whole, killed = outputs_in(tmp_path / "whole"), outputs_in(tmp_path / "killed")
    job_of().run(str(slide_path), whole)
    # Renames: the description, three strips, and a fourth that is not renamed any more.
    process = start(tmp_path, slide_path, killed.overlay.parent, moment=5)
    assert process.wait() == -signal.SIGKILL, process.communicate()[1]
    assert len(list(killed.working_folder.glob("0*.strip"))) == 3
    assert len(list(killed.working_folder.glob(".*.strip"))) == 1
    assert json.loads((killed.working_folder / "strips.json").read_text())["format"] == "wsi-lpd strips"
    job_of().run(str(slide_path), killed)
    assert files_of(killed) == files_of(whole)
    assert sorted(p.name for p in killed.overlay.parent.iterdir()) == ["map.geojson", "map.ome.tif", "map.png"]


@pytest.mark.slow
def test_kill__at_any_rename(tmp_path, slide_path):
    whole = outputs_in(tmp_path / "whole")
    job_of().run(str(slide_path), whole)
    moment, end = 1, -signal.SIGKILL
    while end == -signal.SIGKILL:
        killed = outputs_in(tmp_path / f"killed {moment}")
        process = start(tmp_path, slide_path, killed.overlay.parent, moment=moment)
        end = process.wait()
        assert end in (0, -signal.SIGKILL), process.communicate()[1]
        job_of().run(str(slide_path), killed)
        assert files_of(killed) == files_of(whole)
        moment += 1
    assert moment > 10  # the description, the strips, three files


@pytest.mark.slow
def test_kill__at_random_moments(tmp_path, slide_path):
    whole, killed = outputs_in(tmp_path / "whole"), outputs_in(tmp_path / "killed")
    job_of().run(str(slide_path), whole)
    chance = random.Random(1)
    n_kills = 0
    for _ in range(40):
        process = start(tmp_path, slide_path, killed.overlay.parent)
        try:
            process.wait(timeout=chance.uniform(0.0, 0.6))
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            n_kills += process.wait() == -signal.SIGKILL
        else:
            assert process.returncode == 0, process.communicate()[1]
            break
    job_of().run(str(slide_path), killed)
    assert n_kills > 0
    assert files_of(killed) == files_of(whole)
    assert sorted(p.name for p in killed.overlay.parent.iterdir()) == ["map.geojson", "map.ome.tif", "map.png"]
