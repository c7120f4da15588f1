"""The arrows of the house point one way."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_slides import tissue_pixels, write_svs

ROOT = Path(__file__).resolve().parents[1]
FORBIDDEN = {
    "types": {"wsi_lpd", "torch", "zarr"},
    "errors": {"wsi_lpd"},
    "config": {"torch", "zarr", "wsi_lpd.slide", "wsi_lpd.patches", "wsi_lpd.models"},
    "slide": {
        "torch",
        "timm",
        "zarr",
        "distributed",
        "wsi_lpd.patches",
        "wsi_lpd.models",
        "wsi_lpd.train",
        "wsi_lpd.segment",
    },
    "patches": {"torch", "timm", "wsi_lpd.models", "wsi_lpd.losses", "wsi_lpd.train", "wsi_lpd.segment"},
    "models": {
        "zarr",
        "openslide",
        "tiffslide",
        "wsi_lpd.slide",
        "wsi_lpd.patches",
        "wsi_lpd.train",
        "wsi_lpd.segment",
    },
    "losses": {"zarr", "openslide", "timm", "wsi_lpd.slide", "wsi_lpd.patches", "wsi_lpd.models", "wsi_lpd.train"},
    "methods": {
        "zarr",
        "openslide",
        "timm",
        "wsi_lpd.slide",
        "wsi_lpd.patches",
        "wsi_lpd.train",
        "wsi_lpd.segment",
        "wsi_lpd.overlay",
    },
    "pretrain": {
        "zarr",
        "openslide",
        "tiffslide",
        "wsi_lpd.slide",
        "wsi_lpd.losses",
        "wsi_lpd.methods",
        "wsi_lpd.segment",
        "wsi_lpd.overlay",
    },
    "prototypes": {
        "zarr",
        "openslide",
        "tiffslide",
        "wsi_lpd.slide",
        "wsi_lpd.losses",
        "wsi_lpd.train",
        "wsi_lpd.segment",
    },
    "pseudo_masks": {"zarr", "openslide", "tiffslide", "lightly", "wsi_lpd.slide", "wsi_lpd.train", "wsi_lpd.pretrain"},
    "train": {
        "zarr",
        "openslide",
        "tiffslide",
        "lightly",
        "wsi_lpd.slide",
        "wsi_lpd.pretrain",
        "wsi_lpd.segment",
        "wsi_lpd.overlay",
    },
    "segment": {"zarr", "openslide", "tiffslide", "wsi_lpd.patches", "wsi_lpd.train", "wsi_lpd.losses"},
    "overlay": {"torch", "zarr", "openslide", "wsi_lpd.slide", "wsi_lpd.patches", "wsi_lpd.models", "wsi_lpd.segment"},
    "distributed": {"torch", "zarr", "openslide", "tiffslide", "timm", "wsi_lpd.train", "wsi_lpd.losses"},
    "evaluate": {"torch", "zarr", "openslide", "wsi_lpd.slide", "wsi_lpd.models", "wsi_lpd.train", "wsi_lpd.segment"},
    "evaluate/model": {"zarr", "openslide", "tiffslide", "wsi_lpd.slide", "wsi_lpd.train"},
}
"""What each room must not import, at any depth of its own code."""


def modules(room):
    folder = ROOT / "wsi_lpd" / room
    if not folder.is_dir():
        return [folder.with_suffix(".py")]
    with_rules_of_their_own = {(ROOT / "wsi_lpd" / other).with_suffix(".py") for other in FORBIDDEN if "/" in other}
    return sorted(set(folder.rglob("*.py")) - with_rules_of_their_own)


def imported_names(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("room", sorted(FORBIDDEN))
def test_a_room__imports_nothing_above_it(room):
    found = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in modules(room)
        for name in imported_names(path)
        if any(name == banned or name.startswith(f"{banned}.") for banned in FORBIDDEN[room])
    ]
    assert not found


def test_every_room__is_watched():
    rooms = {path.name for path in (ROOT / "wsi_lpd").iterdir() if (path / "__init__.py").is_file()}
    assert rooms <= set(FORBIDDEN)


def test_dask__is_known_to_one_room():
    found = {path.parent.name for path in (ROOT / "wsi_lpd").rglob("*.py") for name in imported_names(path)
             if name.partition(".")[0] in ("dask", "distributed")}  # fmt: skip
    assert found == {"distributed"}


def test_the_library__never_prints():
    calls = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in (ROOT / "wsi_lpd").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "print"
    ]
    assert not calls


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["tile"],
        ["train"],
        ["segment"],
        ["info"],
        ["synth"],
        ["evaluate"],
        ["demo"],
        ["pretrain"],
        ["prototypes"],
        ["encoders"],
        ["pseudo-mask"],
    ],
    ids=" ".join,
)
def test_help__imports_nothing_heavy(words):
    program = (
        "import sys\n"
        "from wsi_lpd_cli.main import app\n"
        f"try:\n    app({[*words, '--help']!r})\n"
        "except SystemExit as end:\n    assert end.code == 0\n"
        "heavy = ('torch', 'zarr', 'numpy', 'scipy', 'cv2', 'shapely', 'wsi_lpd.config')\n"
        "print(sorted(name for name in heavy if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("command", ["tile", "info"])
def test_reading_a_slide__imports_nothing_heavy_that_it_does_not_need(tmp_path, command):
    slide = write_svs(tmp_path / "s.svs", tissue_pixels(900, 700), mpp=0.25)
    words = [command, str(slide), *(["--out", str(tmp_path)] if command == "tile" else [])]
    program = (
        "import sys\n"
        "from wsi_lpd_cli.main import app\n"
        f"try:\n    app({words!r})\n"
        "except SystemExit as end:\n    assert end.code == 0\n"
        "heavy = ('torch', 'zarr', 'scipy', 'shapely', 'distributed', 'tiffslide', 'fsspec', 'rich')\n"
        "print(sorted(name for name in heavy if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
