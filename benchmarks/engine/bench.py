"""Tiling, segmenting and drawing against the peers and the limits of the machine: tables for docs/performance.md.

    python benchmarks/engine/bench.py [--parts tiles,segment,...] [--repeats 3] [--no-peers] [--out bench]

Slides are synthetic and made when they are missing. The peers get an environment each (some 6 GB with torch for two of
them). Everything runs on an otherwise idle machine or not at all.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent))

from big import big_tables  # noqa: E402
from kills import kills_tables  # noqa: E402
from label_maps import label_map_tables  # noqa: E402
from machine import machine_line  # noqa: E402
from place import Place  # noqa: E402
from scaling import scaling_tables  # noqa: E402
from segmenting import segmenting_tables  # noqa: E402
from ties import ties_tables  # noqa: E402
from tiles import tiles_tables  # noqa: E402
from workers import workers_tables  # noqa: E402

from wsi_lpd.files import write_text  # noqa: E402

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
    """Runs the parts that are asked for; each leaves its tables in OUT/<part>.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("bench"))
    parser.add_argument("--parts", type=_known, default=list(PARTS), help=f"of {', '.join(PARTS)}")
    parser.add_argument("--repeats", type=int, default=3, help="rounds; ratios are medians over them")
    parser.add_argument("--no-peers", action="store_true", help="leave TIAToolbox, LazySlide and histolab out")
    options = parser.parse_args()
    place = Place(options.out.absolute(), options.repeats, not options.no_peers)
    for name in options.parts:
        title, tables = PARTS[name]
        command = f"python benchmarks/engine/bench.py --parts {name} --repeats {options.repeats}"
        text = "\n\n".join([f"### {title}", f"`{command}`; {machine_line()}", *tables(place)])
        write_text(place.out / f"{name}.md", text + "\n")
        print(f"{text}\n", flush=True)


def _known(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in PARTS]:
        raise argparse.ArgumentTypeError(f"no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    return names


if __name__ == "__main__":
    main()
