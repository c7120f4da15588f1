"""Tiling, segmenting and drawing against the peers and the limits of the machine: tables for docs/performance.md.

    python -m benchmarks.engine.bench [--parts tiles,segment,...] [--repeats 3] [--no-peers] [--out bench]

Slides are synthetic and made where they are missing. Each peer gets an environment of its own (two of them with torch,
some 6 GB each). Run it on an idle machine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.engine.big import big_tables
from benchmarks.engine.kills import kills_tables
from benchmarks.engine.label_maps import label_map_tables
from benchmarks.engine.place import Place
from benchmarks.engine.scaling import scaling_tables
from benchmarks.engine.segmenting import segmenting_tables
from benchmarks.engine.ties import ties_tables
from benchmarks.engine.tiles import tiles_tables
from benchmarks.engine.workers import workers_tables
from benchmarks.measuring import machine_line, names_among, parser_of
from wsi_lpd.files import write_text

PARTS: dict[str, tuple[str, Callable[[Place], Sequence[str]]]] = {
    "tiles": ("Tiling", tiles_tables),
    "segment": ("Segmenting", segmenting_tables),
    "maps": ("From a label map to a file", label_map_tables),
    "big": ("Memory on large slides", big_tables),
    "kills": ("Killed and resumed", kills_tables),
    "workers": ("Two workers", workers_tables),
    "ties": ("Batches", ties_tables),
    "scaling": ("1 to 256 workers (a model)", scaling_tables),
}


def main() -> None:
    """Runs the chosen parts; each writes its tables to OUT/<part>.md."""
    parser = parser_of(__doc__)
    parser.add_argument("--out", type=Path, default=Path("bench"), help="folder of all files")
    parser.add_argument("--parts", type=names_among(PARTS, "part"), default=list(PARTS), help="separated by commas")
    parser.add_argument("--repeats", type=int, default=3, help="rounds; ratios are medians over them")
    parser.add_argument("--no-peers", action="store_true", help="leave out TIAToolbox, LazySlide and histolab")
    options = parser.parse_args()
    place = Place(options.out.absolute(), options.repeats, not options.no_peers)
    for name in options.parts:
        title, tables = PARTS[name]
        command = f"python -m benchmarks.engine.bench --parts {name} --repeats {options.repeats}"
        text = "\n\n".join([f"### {title}", f"`{command}`; {machine_line()}", *tables(place)])
        write_text(place.out / f"{name}.md", text + "\n")
        print(f"{text}\n", flush=True)


if __name__ == "__main__":
    main()
