"""The prototypes as one self-contained web page: pictures embedded, no script, nothing fetched."""

from __future__ import annotations

import base64
import io
from html import escape
from string import Template
from typing import Final

import numpy as np
from PIL import Image

from wsi_lpd.labels.sources import read_patches
from wsi_lpd.overlay.raster.draw import round_length_um
from wsi_lpd.prototypes.draw import (
    HEAT_COLORS,
    HeatRange,
    draw_pair,
    heat_range,
    ink_on,
    pair_px,
    shown_px,
    similarity_color,
)
from wsi_lpd.prototypes.findings import ClassFindings, Findings
from wsi_lpd.prototypes.tally import STRONG_SHARE, Example
from wsi_lpd.types import Float64Array, UInt8Array

_MOST_PATCH_PX: Final = 224
_JPEG_QUALITY: Final = 90

_PAGE: Final = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Prototypes of $run</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff; margin: 2em auto; max-width: 1500px;
  padding: 0 1.5em; }
h1, h2, h3 { font-weight: 600; line-height: 1.2; }
h2 { border-top: 1px solid #ccc; padding-top: 1em; margin-top: 2em; }
p, dl { max-width: 60em; }
dt { font-weight: 600; } dd { margin: 0 0 .4em 1.5em; }
table { border-collapse: collapse; margin: .5em 2em 1em 0; }
th, td { padding: .25em .7em; text-align: right; border-bottom: 1px solid #e4e4e4; }
th:first-child, td:first-child { text-align: left; }
caption { text-align: left; font-weight: 600; padding-bottom: .3em; }
table.pairs td { min-width: 2.6em; text-align: center; border: 2px solid #fff; }
.pairs-row { display: flex; flex-wrap: wrap; align-items: flex-start; }
.swatch { display: inline-block; width: .9em; height: .9em; border: 1px solid #444; margin-right: .4em; }
.bar { display: inline-block; width: 12em; height: .8em; background: #eee; text-align: left; }
.bar span { display: block; height: 100%; }
.heat { display: inline-block; width: 8em; height: .8em; border: 1px solid #ccc; margin: 0 .4em;
  background: linear-gradient(to right, $gradient); }
.scale { display: inline-block; height: .5em; border: 2px solid #222; border-top: 0; margin-right: .5em; }
.patches { display: flex; flex-wrap: wrap; gap: 1em; }
figure { margin: 0; } figure img { display: block; image-rendering: pixelated; max-width: 100%; }
figcaption, .note { font-size: 13px; color: #555; }
</style>
</head>
<body>
<h1>Prototypes of $run</h1>
<p>$patches. $pixels</p>
$summary
<details>
<summary>How to read this</summary>
<dl>
<dt>Prototype</dt><dd>A vector that stands for one appearance of a class. Its similarity to a place in a patch is a
cosine: 1 means the same, 0 means nothing in common. The numbers are those of &ldquo;Dominant prototype&rdquo; in the
overlay.</dd>
<dt>Usage</dt><dd>Share of the class's pixels for which the prototype is the best of its class.</dd>
<dt>Coverage</dt><dd>Share of the class's pixels whose best prototype is <em>not</em> the most used one. Near 0, one
prototype does all the work.</dd>
<dt>Correlation</dt><dd>Of the similarity maps of two prototypes over the class's pixels: near 1, they respond to the
same places.</dd>
<dt>Cosine</dt><dd>Of two prototypes, in the space in which they are compared with the features of one scale.</dd>
<dt>Patches</dt><dd>Those with the highest mean similarity over their strongest pixels of the class ($strong of the
patch). The outline encloses the prototype's strongest $strong of the class's pixels. Beside it: the similarity as a
heat map, with one range of colours per prototype.</dd>
</dl>
</details>
<p class="note">$scale</p>
$classes
<p class="note">$made</p>
</body>
</html>
""")


def page(findings: Findings) -> str:
    """The page as HTML.

    Raises:
        StoreError: If a patch can no longer be read.
        LabelError: The same, for image files.
    """
    return _PAGE.substitute(
        run=escape(findings.run),
        gradient=", ".join(_css(color) for color in HEAT_COLORS),
        patches=escape(f"Sample: {findings.describe_patches()}"),
        pixels=escape(findings.describe_pixels()),
        summary=_summary(findings),
        scale=_scale_bar(findings),
        strong=f"{STRONG_SHARE:.0%}",
        classes="\n".join(_class(findings, found, i) for i, found in enumerate(findings.classes)),
        made=escape(
            f"wsi-lpd {findings.version}; model {findings.model_sha256[:12]}; scale: {findings.mpp:g} um per px"
        ),
    )


def _scale_bar(findings: Findings) -> str:
    length_um = round_length_um(findings.patch_um / 2)
    length_px = length_um / findings.patch_um * shown_px(findings.patch_px, _MOST_PATCH_PX)
    return f'<span class="scale" style="width:{length_px:.0f}px"></span>{length_um:g} um in the patches below'


def _summary(findings: Findings) -> str:
    rows = []
    for i, found in enumerate(findings.classes):
        figures = found.figures
        cells = [
            f'<a href="#class-{i}">{_swatch(found)}{escape(found.tissue.name)}</a>',
            f"{found.n_labelled:,}",
            f"{figures.n_patches:,}",
            f"{figures.n_pixels:,}",
            _percent(figures.coverage),
            _number(found.mean_correlation()),
        ]
        rows.append(_row("td", cells))
    head = _row(
        "th",
        ["Class", "Patches labelled", "Patches with its pixels", "Pixels", "Coverage", "Mean correlation of pairs"],
    )
    return f"<table>\n{head}\n" + "\n".join(rows) + "\n</table>"


def _class(findings: Findings, found: ClassFindings, i: int) -> str:
    parts = [f'<h2 id="class-{i}">{_swatch(found)}{escape(found.tissue.name)}</h2>']
    remark = found.remark()
    if remark is not None:
        parts.append(f"<p>{escape(remark)}</p>")
    if found.figures.n_pixels > 0:
        parts.append(_usage(found))
        parts += [_prototype(findings, found, k) for k in range(found.n_prototypes)]
    if found.n_prototypes > 1:
        tables = [_pairs("Correlation of their maps", found.figures.correlation)] if found.figures.n_pixels else []
        tables += [
            _pairs(f"Cosine of the vectors, scale {scale}", cosines)
            for scale, cosines in zip(findings.scales, found.cosines, strict=True)
        ]
        parts.append(f'<h3>How similar they are</h3>\n<div class="pairs-row">{"".join(tables)}</div>')
    return "\n".join(parts)


def _usage(found: ClassFindings) -> str:
    usage = found.figures.usage
    assert usage is not None
    rows = [_row("th", ["Prototype", "Usage", "", "Strongest pixels reach", "Most like"])]
    for k, share in enumerate(usage.tolist()):
        closest = found.closest(k)
        filled = f'<span style="width:{share:.1%};background:{_css(found.tissue.color)}"></span>'
        most_like = "" if closest is None else f"{closest[0] + 1} (r = {closest[1]:.2f})"
        cells = [str(k + 1), _percent(share), f'<span class="bar">{filled}</span>']
        rows.append(_row("td", [*cells, _number(float(found.figures.strong[k])), most_like]))
    return "<table>\n" + "\n".join(rows) + "\n</table>"


def _prototype(findings: Findings, found: ClassFindings, k: int) -> str:
    examples = found.figures.examples[k]
    if not examples:
        return ""
    heat = heat_range(examples)
    patches = read_patches(findings.table, [e.row for e in examples])
    figures = [
        _figure(findings, example, patch, float(found.figures.strong[k]), heat)
        for example, patch in zip(examples, patches, strict=True)
    ]
    legend = f'<span class="note">{heat.low:.2f}<span class="heat"></span>{heat.high:.2f}</span>'
    title = f"<h3>{escape(found.tissue.name)}, prototype {k + 1} {legend}</h3>"
    return f'{title}\n<div class="patches">\n' + "\n".join(figures) + "\n</div>"


def _figure(findings: Findings, example: Example, patch: UInt8Array, strong: float, heat: HeatRange) -> str:
    side_px = shown_px(findings.patch_px, _MOST_PATCH_PX)
    pair = draw_pair(patch, example.similarity, side_px=side_px, strong=strong, heat=heat)
    source = findings.source(example.row)
    place = ", ".join([str(source["slide"]), source["file"] if "index" not in source else f"patch {source['index']}"])
    width, height = pair_px(side_px)
    image = f'<img width="{width}" height="{height}" alt="Patch and heat map" src="{_data_uri(pair)}">'
    return f"<figure>{image}<figcaption>{escape(place)}: {example.strength:.2f}</figcaption></figure>"


def _pairs(title: str, values: Float64Array) -> str:
    numbers = [str(k + 1) for k in range(len(values))]
    rows = [_row("th", ["", *numbers])]
    for i, name in enumerate(numbers):
        cells = [f"<th>{name}</th>"]
        for j, value in enumerate(values[i].tolist()):
            if i == j or np.isnan(value):
                cells.append('<td style="background:#ebebeb"></td>')
            else:
                color = similarity_color(value)
                style = f"background:{_css(color)};color:{_css(ink_on(color))}"
                cells.append(f'<td style="{style}">{value:.2f}</td>')
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return f'<table class="pairs"><caption>{escape(title)}</caption>\n' + "\n".join(rows) + "\n</table>"


def _row(tag: str, cells: list[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{cell}</{tag}>" for cell in cells) + "</tr>"


def _swatch(found: ClassFindings) -> str:
    return f'<span class="swatch" style="background:{_css(found.tissue.color)}"></span>'


def _css(color: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)


def _percent(value: float | None) -> str:
    return "&ndash;" if value is None else f"{value:.1%}"


def _number(value: float | None) -> str:
    return "&ndash;" if value is None or np.isnan(value) else f"{value:.2f}"


def _data_uri(picture: UInt8Array) -> str:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, format="JPEG", quality=_JPEG_QUALITY, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
