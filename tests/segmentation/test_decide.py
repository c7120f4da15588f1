"""From logits to labels, worked out by hand."""

import numpy as np

from wsi_lpd.overlay.raster.strips import NO_PROTOTYPE
from wsi_lpd.prediction.stitch import StitchedRows
from wsi_lpd.segmentation.decide import decide


def rows(logits, presence=None, prototypes=None, covered=None):
    logits = np.array(logits, np.float32)
    n_classes, shape = len(logits) - 1, logits.shape[1:]
    return StitchedRows(
        top=0,
        logits=logits,
        presence=np.ones((n_classes, *shape), np.float32) if presence is None else np.array(presence, np.float32),
        prototypes=np.zeros((n_classes, *shape), np.uint8) if prototypes is None else np.array(prototypes, np.uint8),
        covered=np.ones(shape, bool) if covered is None else np.array(covered),
    )


def test_the_highest_score_wins__and_the_background_is_one_of_them():
    labels, probabilities, prototypes = decide(
        rows([[[1, 1, 1]], [[3, 0, 0]], [[0, 2, -1]]], prototypes=[[[4, 1, 1]], [[2, 3, 2]]]),
        tissue=np.ones((1, 3), bool),
        gated=False,
    )
    assert labels.tolist() == [[1, 2, 0]]
    assert prototypes.tolist() == [[4, 3, NO_PROTOTYPE]]
    classes = np.exp([3.0, 0.0])
    tissue = classes.sum() / (classes.sum() + np.exp(1.0))
    expected = [1 - tissue, *(tissue * classes / classes.sum())]
    np.testing.assert_allclose(probabilities[:, 0, 0], np.round(np.array(expected) * 255))


def test_outside_tissue_and_windows__there_is_background_for_certain():
    labels, probabilities, prototypes = decide(
        rows([[[1, 1, 1]], [[3, 3, 3]], [[0, 0, 0]]], covered=[[True, True, False]]),
        tissue=np.array([[True, False, True]]),
        gated=False,
    )
    assert labels.tolist() == [[1, 0, 0]]
    assert probabilities[:, 0, 1:].tolist() == [[255, 255], [0, 0], [0, 0]]
    assert prototypes[0, 1:].tolist() == [NO_PROTOTYPE, NO_PROTOTYPE]


def test_the_gate__closes_a_class_that_is_not_there_and_is_off_when_asked():
    scores = rows([[[-5.0]], [[2.0]], [[1.0]]], presence=[[[0.01]], [[0.99]]])
    tissue = np.ones((1, 1), bool)
    assert decide(scores, tissue=tissue, gated=True)[0].tolist() == [[2]]
    assert decide(scores, tissue=tissue, gated=False)[0].tolist() == [[1]]


def test_the_gate__of_an_absent_class_is_bounded():
    scores = rows([[[-5.0]], [[30.0]], [[1.0]]], presence=[[[0.0]], [[1.0]]])
    assert decide(scores, tissue=np.ones((1, 1), bool), gated=True)[0].tolist() == [[1]]


def test_an_unsure_gate__never_turns_tissue_into_background():
    scores = rows([[[0.5]], [[1.0]], [[0.9]]], presence=[[[0.02]], [[0.05]]])
    tissue = np.ones((1, 1), bool)
    assert decide(scores, tissue=tissue, gated=True)[0].tolist() == [[2]]


def test_two_classes_of_equal_score__outvote_the_background_together():
    scores = rows([[[1.2]], [[1.0]], [[0.9]]])
    assert decide(scores, tissue=np.ones((1, 1), bool), gated=False)[0].tolist() == [[1]]
