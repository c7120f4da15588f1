"""The pictures, the sheet and the page."""

import base64
import io
import itertools
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from wsi_lpd.config import updated
from wsi_lpd.labels.sources import read_patches
from wsi_lpd.models.network import build_network
from wsi_lpd.prototypes.draw import HeatRange, draw_pair, heat_range, shown_px, similarity_color
from wsi_lpd.prototypes.page import page
from wsi_lpd.prototypes.report import find_prototypes
from wsi_lpd.prototypes.sheet import draw_sheet
from wsi_lpd.prototypes.tally import ClassTally, Example

CPU = torch.device("cpu")


def found_in(network, card, table, **options):
    return find_prototypes(network, card, table, run="a run & more", what="held-out patches", device=CPU, **options)


@pytest.fixture(scope="module")
def findings(network, card, table):
    return found_in(network, card, table, n_examples=4)


@pytest.fixture(scope="module")
def one_prototype(card, config, table):
    """K = 1, and the last class is labelled nowhere."""
    single = updated(config, {"model.prototypes_per_class": 1})
    torch.manual_seed(4)
    network = build_network(single.model, n_classes=3).eval()
    labels = table.labels.copy()
    labels[:, 2] = 0
    own_card = card.model_copy(update={"config": single, "prototypes_per_class": 1})
    return found_in(network, own_card, replace(table, labels=labels))


@given(st.integers(16, 2000), st.sampled_from([160, 224]))
def test_a_patch_is_shown__in_whole_steps_and_never_too_large(patch_px, most_px):
    side = shown_px(patch_px, most_px)
    assert 0 < side <= most_px
    if patch_px <= most_px:
        assert side % patch_px == 0
        assert side + patch_px > most_px
    else:
        assert side == patch_px // round(patch_px / side)
        assert side * 2 >= most_px * 0.9


def test_a_pair__shows_the_patch_and_where_the_prototype_responds():
    rng = np.random.default_rng(2)
    patch = rng.integers(60, 200, (24, 24, 3), np.uint8)
    similarity = np.full((6, 6), 0.1, np.float32)
    similarity[1:3, 3:6] = 0.8
    pair = draw_pair(patch, similarity, side_px=96, strong=0.6, heat=HeatRange(0.2, 0.8))
    left, right = pair[:, :96], pair[:, -96:]
    enlarged = patch.repeat(4, axis=0).repeat(4, axis=1)
    changed = (left != enlarged).any(axis=2)
    y, x = np.nonzero(changed)
    assert changed.any()
    assert y.min() >= 10
    assert y.max() <= 54
    assert x.min() >= 40
    assert not changed[26:38, 62:86].any(), "inside the outline the patch is as it is"
    redness = right[..., 0].astype(int) - right[..., 2]
    assert redness[26:38, 62:86].min() > 60
    assert np.abs(redness[60:]).max() == 0, "where it is cold the patch is grey"
    assert (pair[:, 96:100] == 255).all()


def test_heat__runs_from_the_median_to_the_highest_and_is_never_empty():
    examples = [
        Example(0, 0.5, np.array([[0.1, 0.213, 0.9]], np.float32)),
        Example(1, 0.4, np.zeros((1, 2), np.float32)),
    ]
    assert heat_range(examples) == pytest.approx((0.1, 0.9))
    assert heat_range([Example(0, 0.5, np.full((2, 3), 0.25, np.float32))]) == pytest.approx((0.25, 0.26))


def test_likeness__is_red_and_the_opposite_blue():
    assert similarity_color(0.0) == (255, 255, 255)
    red, blue = similarity_color(0.9), similarity_color(-0.9)
    assert red[0] > red[2] + 100
    assert blue[2] > blue[0] + 70
    assert similarity_color(0.3)[1] > red[1]


def is_shown(picture, rows):
    """Whether the rows (bytes) of a larger picture hold a picture as it is."""
    lines = [row.tobytes() for row in picture]
    for y, row in enumerate(rows):
        at = row.find(lines[0])
        if at >= 0 and all(row.startswith(line, at) for row, line in zip(rows[y:], lines, strict=False)):
            return True
    return False


def test_the_sheet__holds_every_pair_and_class_colour(findings):
    sheet = draw_sheet(findings)
    rows = [row.tobytes() for row in sheet]
    n_pairs = 0
    for found in findings.classes:
        assert (sheet == found.tissue.color).all(axis=2).sum() > 300
        for k, examples in enumerate(found.figures.examples):
            strong = float(found.figures.strong[k])
            for example in examples:
                patch = read_patches(findings.table, [example.row])[0]
                pair = draw_pair(patch, example.similarity, side_px=144, strong=strong, heat=heat_range(examples))
                assert is_shown(pair, rows)
                n_pairs += 1
    assert n_pairs > 20


def test_the_sheet__of_one_prototype_and_an_absent_class_says_so(one_prototype):
    remarks = [found.remark() for found in one_prototype.classes]
    assert "has one prototype" in remarks[0]
    assert "No patch of the sample is labelled with this class" in remarks[2]
    sheet = draw_sheet(one_prototype)
    color = one_prototype.classes[2].tissue.color
    assert (sheet == color).all(axis=2).sum() > 300, "an absent class has its heading"


class Checker(HTMLParser):
    """Opened and closed tags, addresses, text."""

    VOID = ("meta", "img")

    def __init__(self, text):
        super().__init__()
        self.open, self.addresses, self.pictures, self.text, self.tags = [], [], [], "", set()
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name in ("src", "href"):
                (self.pictures if tag == "img" else self.addresses).append(value)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_the_page__works_offline(findings):
    text = page(findings)
    checked = Checker(text)
    assert not re.search(r"https?:|//[a-z]|@import|url\(", re.sub(r'src="data:[^"]*"', "", text), re.IGNORECASE)
    assert not checked.tags & {"script", "link", "iframe", "object"}
    assert {address[0] for address in checked.addresses} == {"#"}
    assert all(f'id="{address[1:]}"' in text for address in checked.addresses)


def test_the_page__shows_every_example_and_number(findings):
    checked = Checker(page(findings))
    n_examples = sum(len(e) for found in findings.classes for e in found.figures.examples)
    assert len(checked.pictures) == n_examples
    pictures = []
    for picture in checked.pictures:
        kind, _, content = picture.partition(",")
        assert kind == "data:image/jpeg;base64"
        pictures.append(np.asarray(Image.open(io.BytesIO(base64.b64decode(content)))))
    assert {p.shape for p in pictures} == {(192, 388, 3)}
    first = findings.classes[0].figures.examples[0]
    strong = float(findings.classes[0].figures.strong[0])
    patch = read_patches(findings.table, [first[0].row])[0]
    expected = draw_pair(patch, first[0].similarity, side_px=192, strong=strong, heat=heat_range(first))
    assert np.abs(pictures[0].astype(int) - expected).mean() < 4
    assert "glands & <ducts>" in checked.text
    assert "a run & more" in checked.text
    for found in findings.classes:
        for share in found.figures.usage:
            assert f"{share:.1%}" in checked.text
        assert f"{found.figures.coverage:.1%}" in checked.text
        assert f"{found.figures.correlation[0, 2]:.2f}" in checked.text
        assert f"{found.cosines[1, 0, 2]:.2f}" in checked.text
    assert "each 24 um wide (48 px at 0.5 um per px)" in checked.text


def test_the_scale_bar__is_as_long_as_it_says(findings):
    text = page(findings)
    assert '<span class="scale" style="width:80px"></span>10 um in the patches below' in text  # 24 um are 192 px
    sheet = draw_sheet(findings)
    ink = (sheet[:250, :400] == (40, 40, 40)).all(axis=2)
    longest = max(len(list(run)) for row in ink for is_ink, run in itertools.groupby(row.tolist()) if is_ink)
    assert longest == pytest.approx(10 / 24 * 144, abs=4)  # 24 um are 144 px


def test_the_page__of_one_prototype_and_an_absent_class_says_so(one_prototype):
    checked = Checker(page(one_prototype))
    assert "The class has one prototype" in checked.text
    assert "No patch of the sample is labelled with this class" in checked.text
    assert "How alike they are" not in checked.text
    assert one_prototype.classes[2].describe() == "Immune cells: no pixels found in 0 patches labelled with it"


def test_masks__are_told_of(findings):
    assert "given the patch's label" in findings.describe_pixels()
    some, every = replace(findings, n_masks=2), replace(findings, n_masks=findings.n_patches)
    assert "(2 patches have one); without" in some.describe_pixels()
    assert "given the patch's label" not in every.describe_pixels()


def test_an_unused_prototype__is_named(findings):
    found = findings.classes[0]
    wins = found.figures.wins.copy()
    wins[:] = 5, 0, 7
    assert replace(found, figures=replace(found.figures, wins=wins)).remark() == (
        "Not the best for any pixel: prototype 2."
    )
    wins[0] = 0
    assert replace(found, figures=replace(found.figures, wins=wins)).remark() == (
        "Not the best for any pixel: prototypes 1, 2."
    )


def test_a_labelled_class_of_which_nothing_is_found__is_told(findings):
    found = findings.classes[0]
    nothing = replace(found, figures=ClassTally(3, n_examples=2).figures())
    assert nothing.remark() == (
        f"No pixel of this class was found in the {found.n_labelled} patches labelled with it, so there is nothing to "
        "show."
    )


def test_no_labelled_patch_at_all__still_draws(network, card, table):
    nothing = found_in(network, card, replace(table, labels=np.zeros_like(table.labels)))
    assert nothing.n_patches == 0
    assert draw_sheet(nothing).shape[1] >= 1000
    assert Checker(page(nothing)).pictures == []
