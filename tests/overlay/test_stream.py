from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from label_maps import FIXED, label_maps, noise

from wsi_lpd.overlay.strips import Strip
from wsi_lpd.overlay.stream import trace_strips
from wsi_lpd.overlay.trace import trace_regions, to_level0

def cut(m, heights):
    out=[];y=0
    while y<len(m):
        h=heights[len(out)%len(heights)]
        out.append(Strip(m[y:y+h])); y+=h
    return out

def outlines(polygons, labels):
    return sorted((int(l), shapely.to_wkb(p).hex()) for p,l in zip(shapely.normalize(polygons), labels))

def all_of(batches):
    batches=list(batches)
    return (np.concatenate([b.polygons for b in batches]), np.concatenate([b.labels for b in batches]), np.concatenate([b.tally.areas_px for b in batches]))

@pytest.mark.parametrize("name", FIXED)
@pytest.mark.parametrize("heights",[[1],[2],[3,1]])
def test_fixed(name,heights):
    m=FIXED[name]
    r=trace_regions(m)
    p,l,a=all_of(trace_strips(cut(m,heights)))
    assert outlines(p,l)==outlines(r.polygons,r.labels)

@given(label_maps, st.lists(st.integers(1,5),min_size=1,max_size=4))
def test_any(m,heights):
    r=trace_regions(m)
    p,l,a=all_of(trace_strips(cut(m,heights)))
    assert outlines(p,l)==outlines(r.polygons,r.labels)
