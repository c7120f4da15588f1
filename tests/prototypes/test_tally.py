"""Running numbers against plain loops over everything at once."""

import numpy as np
import pytest

from wsi_lpd.prototypes.tally import STRONG_SHARE, ClassTally

K, H, W = 4, 5, 9


@pytest.fixture
def patches():
    rng = np.random.default_rng(8)
    base = rng.normal(0, 0.2, (30, 1, H, W))
    similarity = np.clip(base + rng.normal([[[0.3]], [[0.1]], [[0.2]], [[0.0]]], 0.15, (30, K, H, W)), -1, 1)
    members = rng.random((30, H, W)) < rng.random((30, 1, 1))
    members[[4, 11]] = False
    members[0] = rng.random((H, W)) < 0.6
    return similarity.astype(np.float32), members


def tallied(patches, *, n_examples=3):
    tally = ClassTally(patches[0].shape[1], n_examples=n_examples)
    for row, (similarity, members) in enumerate(zip(*patches, strict=True)):
        tally.add(row, similarity, members)
    return tally.figures()


def pixels(patches):
    """Similarities of every pixel of the class, (N, K)."""
    return np.array(
        [s[:, y, x] for s, m in zip(*patches, strict=True) for y in range(H) for x in range(W) if m[y, x]], float
    )


def strength(similarity, members, k):
    """The mean of the strongest pixels, by sorting."""
    values = sorted((float(similarity[k, y, x]) for y in range(H) for x in range(W) if members[y, x]), reverse=True)
    strongest = values[: int(np.ceil(STRONG_SHARE * H * W))]
    return sum(strongest) / len(strongest)


def test_usage_and_coverage__against_a_loop(patches):
    figures = tallied(patches)
    wins = [0] * K
    for values in pixels(patches):
        wins[max(range(K), key=lambda k: values[k])] += 1
    assert figures.n_pixels == sum(wins)
    assert figures.n_patches == patches[1].any(axis=(1, 2)).sum() < 30
    assert figures.usage == pytest.approx(np.array(wins) / sum(wins))
    assert figures.usage.sum() == pytest.approx(1)
    most_used = wins.index(max(wins))
    others = sum(max(range(K), key=lambda k: values[k]) != most_used for values in pixels(patches))
    assert figures.coverage == pytest.approx(others / sum(wins))
    assert 0 < figures.coverage < 1


def test_correlation__is_numpys_over_all_pixels(patches):
    expected = np.corrcoef(pixels(patches).T)
    assert tallied(patches).correlation == pytest.approx(expected, abs=1e-6)
    assert not np.allclose(expected, np.eye(K), atol=0.1)


def test_strong_similarity__is_the_quantile(patches):
    expected = np.quantile(pixels(patches), 1 - STRONG_SHARE, axis=0, method="inverted_cdf")
    assert tallied(patches).strong == pytest.approx(expected, abs=0.001)


@pytest.mark.parametrize("n_examples", [1, 3, 28, 100])
def test_examples__are_the_head_of_a_full_sort(patches, n_examples):
    figures = tallied(patches, n_examples=n_examples)
    for k in range(K):
        scored = [(strength(s, m, k), row) for row, (s, m) in enumerate(zip(*patches, strict=True)) if m.any()]
        expected = sorted(scored, reverse=True)[:n_examples]
        assert [e.row for e in figures.examples[k]] == [row for _, row in expected]
        assert [e.strength for e in figures.examples[k]] == pytest.approx([value for value, _ in expected])
        for example in figures.examples[k]:
            np.testing.assert_array_equal(example.similarity, patches[0][example.row, k])


def test_equal_patches__are_kept_in_order(patches):
    similarity, members = patches[0][:1].repeat(5, axis=0), patches[1][:1].repeat(5, axis=0)
    assert [e.row for e in tallied((similarity, members), n_examples=2).examples[2]] == [0, 1]


def test_an_example__outlives_the_array_it_came_from(patches):
    tally = ClassTally(K, n_examples=1)
    for row, shift in enumerate((-0.3, 0.0)):  # the second one takes the place of the first
        similarity = patches[0][0] + np.float32(shift)
        tally.add(row, similarity, patches[1][0])
        kept = tally.figures().examples[1][0]
        expected = similarity[1].copy()
        similarity[:] = 0
        assert kept.row == row
        np.testing.assert_array_equal(kept.similarity, expected)


def test_a_constant_map__has_no_correlation(patches):
    patches[0][:, 2] = 0.25
    correlation = tallied(patches).correlation
    assert np.isnan(correlation[2]).all()
    assert np.isfinite(np.delete(np.delete(correlation, 2, axis=0), 2, axis=1)).all()


def test_no_pixels__gives_no_numbers(patches):
    figures = tallied((patches[0], np.zeros_like(patches[1])))
    assert (figures.n_pixels, figures.n_patches, figures.usage, figures.coverage) == (0, 0, None, None)
    assert np.isnan(figures.strong).all()
    assert figures.examples == ((),) * K


def test_one_prototype__covers_nothing_beside_itself(patches):
    figures = tallied((patches[0][:, :1], patches[1]))
    assert figures.usage.tolist() == [1.0]
    assert figures.coverage == 0.0
