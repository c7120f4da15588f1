"""Several forward passes at a time: which, with how many threads, and that the map does not tell."""

import threading

import numpy as np
import pytest
import torch
from colour_predictor import ColourPredictor, MoodyPredictor, everywhere, landmarks, whole_map

from wsi_lpd.config import SegmentConfig
from wsi_lpd.prediction.passes import passes_at_once, shared_threads, windows_per_pass
from wsi_lpd.slide import open_slide

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def allow_threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def threads_of_a_new_thread():
    seen = []
    thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return seen[0]


@pytest.mark.parametrize(("window_px", "count"), [(224, 8), (448, 2), (96, 43), (2000, 1)])
def test_a_pass_on_processors__has_as_many_windows_as_pixels_suit_it(window_px, count):
    assert windows_per_pass(None, CPU, window_px=window_px) == count
    assert windows_per_pass(None, GPU, window_px=window_px) == 32
    assert windows_per_pass(5, CPU, window_px=window_px) == windows_per_pass(5, GPU, window_px=window_px) == 5


@pytest.mark.parametrize(("threads", "passes", "each"), [(1, 1, 1), (3, 3, 1), (21, 8, 2)])
def test_threads__are_shared_out_to_the_passes_and_given_back(allow_threads, threads, passes, each):
    allow_threads(threads)
    assert passes_at_once(CPU) == passes
    assert passes_at_once(GPU) == 1
    with shared_threads(passes):
        assert threads_of_a_new_thread() == each
    assert torch.get_num_threads() == threads_of_a_new_thread() == threads


def test_passes_on_processors__run_at_the_same_time_with_one_thread_each(write_slide, allow_threads):
    allow_threads(3)
    together, seen = threading.Barrier(3), set()

    class Together(ColourPredictor):
        def predict(self, windows, **options):
            together.wait(10)
            seen.add(torch.get_num_threads())
            return super().predict(windows, **options)

    with open_slide(write_slide(landmarks())) as slide:
        config = SegmentConfig(batch_size=1, window_px=640, overlap=0.0)
        plan, _ = whole_map(slide, everywhere(slide), Together(), config)
    assert len(plan.places) == 6
    assert seen == {1}
    assert torch.get_num_threads() == 3


@pytest.mark.parametrize("overlap", [0.0, 0.5])
def test_the_map__does_not_depend_on_how_many_passes_run_at_once(write_slide, allow_threads, overlap):
    maps = []
    with open_slide(write_slide(landmarks(noise=1))) as slide:
        for threads in (1, 4):
            allow_threads(threads)
            config = SegmentConfig(batch_size=3, overlap=overlap)
            maps.append(whole_map(slide, everywhere(slide), MoodyPredictor(), config)[1])
    for one, other in zip(*maps, strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(np.unique(maps[0].labels)) > 1
