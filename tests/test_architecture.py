"""The arrows of the house point one way."""

import ast
import functools
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_slides import tissue_pixels, write_svs

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "wsi_lpd"

READERS = {"openslide", "tiffslide"}
NETWORKS = {"torch", "timm", "openvino"}
SLIDES = {*READERS, "wsi_lpd.slide"}

FORBIDDEN: dict[str, set[str]] = {
    "api": {"typer", "rich", "wsi_lpd_cli"},
    "config": {*NETWORKS, *SLIDES, "zarr", "numpy", "wsi_lpd.models"},
    "distributed": {*NETWORKS, *SLIDES, "zarr", "wsi_lpd.tiling", "wsi_lpd.segmentation", "wsi_lpd.config"},
    "evaluation": {
        *SLIDES,
        "zarr",
        "wsi_lpd.training",
        "wsi_lpd.segmentation",
        "wsi_lpd.tiling",
        "wsi_lpd.distributed",
    },
    "images": {*NETWORKS, *SLIDES, "zarr"},
    "labels": {*NETWORKS, *SLIDES, "wsi_lpd.tiling", "wsi_lpd.distributed"},
    "losses": {*SLIDES, "zarr", "timm", "wsi_lpd.models", "wsi_lpd.stores", "wsi_lpd.labels", "wsi_lpd.config"},
    "methods": {*SLIDES, "zarr", "wsi_lpd.stores", "wsi_lpd.labels", "wsi_lpd.training", "wsi_lpd.overlay"},
    "models": {*SLIDES, "zarr", "wsi_lpd.stores", "wsi_lpd.labels", "wsi_lpd.methods.base", "wsi_lpd.training"},
    "overlay": {*NETWORKS, *SLIDES, "zarr", "wsi_lpd.config", "wsi_lpd.stores", "wsi_lpd.labels"},
    "prediction": {*SLIDES, "zarr", "wsi_lpd.segmentation", "wsi_lpd.stores", "wsi_lpd.labels", "wsi_lpd.losses"},
    "pretraining": {*SLIDES, "wsi_lpd.segmentation", "wsi_lpd.prediction", "wsi_lpd.tiling"},
    "prototypes": {*SLIDES, "wsi_lpd.losses", "wsi_lpd.training", "wsi_lpd.segmentation", "wsi_lpd.tiling"},
    "pseudo_masks": {*SLIDES, "lightly", "wsi_lpd.training", "wsi_lpd.pretraining", "wsi_lpd.segmentation"},
    "qupath": {*NETWORKS, *SLIDES, "zarr", "wsi_lpd.config", "wsi_lpd.overlay", "wsi_lpd.labels", "wsi_lpd.stores"},
    "segmentation": {"zarr", "wsi_lpd.stores", "wsi_lpd.labels", "wsi_lpd.training", "wsi_lpd.tiling"},
    "slide": {*NETWORKS, "zarr", "distributed", "wsi_lpd.stores", "wsi_lpd.labels", "wsi_lpd.models", "wsi_lpd.tiling"},
    "stores": {*NETWORKS, *SLIDES, "wsi_lpd.tiling", "wsi_lpd.models", "wsi_lpd.training"},
    "synthetic": {*NETWORKS, *SLIDES, "zarr", "wsi_lpd.stores", "wsi_lpd.models"},
    "tiling": {*NETWORKS, "wsi_lpd.models", "wsi_lpd.training", "wsi_lpd.segmentation", "wsi_lpd.prediction"},
    "training": {
        *SLIDES,
        "lightly",
        "wsi_lpd.pretraining",
        "wsi_lpd.segmentation",
        "wsi_lpd.prediction",
        "wsi_lpd.tiling",
    },
}
"""What each room must not import, neither itself nor through what it imports."""


def modules():
    """Path of every module of the library by its dotted name; a package goes by its own name."""
    found = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in PACKAGE.rglob("*.py")}
    return {name.removesuffix(".__init__"): path for name, path in found.items()}


MODULES = modules()


def typing_only(tree):
    """Nodes below `if TYPE_CHECKING:`, which never run."""
    blocks = (
        node.body for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
    )
    return {id(node) for block in blocks for statement in block for node in ast.walk(statement)}


def imported_names(path):
    """Dotted names that a file imports when it runs, at any depth of its code."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = typing_only(tree)
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def with_packages(name):
    """A module of the library and the packages around it, which are imported with it; of other packages their root."""
    parts = name.split(".")
    if parts[0] != "wsi_lpd":
        return {parts[0]}
    return {".".join(parts[: i + 1]) for i in range(1, len(parts))} & set(MODULES)


@functools.cache
def imports(module):
    return frozenset(name for imported in imported_names(MODULES[module]) for name in with_packages(imported)) - {
        module
    }


def reached_from(module):
    """Everything that importing `module` and calling any of its functions can import, each with the chain to it."""
    chains, waiting = {}, [(module,)]
    while waiting:
        chain = waiting.pop(0)
        for name in sorted(imports(chain[-1])) if chain[-1] in MODULES else ():
            if name not in chains:
                chains[name] = (*chain, name)
                waiting.append(chains[name])
    return chains


def room_of(module):
    return module.split(".")[1] if "." in module else ""


def is_within(name, package):
    return name == package or name.startswith(f"{package}.")


@pytest.mark.parametrize("room", sorted(FORBIDDEN))
def test_a_room__reaches_nothing_above_it(room):
    found = {
        " -> ".join(chain)
        for module in MODULES
        if room_of(module) == room
        for name, chain in reached_from(module).items()
        if any(is_within(name, banned) for banned in FORBIDDEN[room])
    }
    assert not found


def test_the_api__stands_on_all_rooms_and_none_on_it():
    found = [m for m in MODULES if room_of(m) not in ("", "api") and "wsi_lpd.api" in reached_from(m)]
    assert not found
    assert "wsi_lpd.tiling.job" in reached_from("wsi_lpd.api.tiling")


def test_the_reach_of_a_module__follows_every_import():
    reached = reached_from("wsi_lpd.tiling.job")
    assert {"wsi_lpd.slide.readers.native_reader", "openslide", "wsi_lpd.labels.table"} <= set(reached)
    assert len(reached["openslide"]) > 3


def test_every_room__is_watched():
    rooms = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    assert rooms == set(FORBIDDEN)


def test_no_folder__outgrows_one_look():
    counts = {str(folder.relative_to(ROOT)): len([*folder.glob("*.py")]) for folder in [PACKAGE, *PACKAGE.rglob("*/")]}
    assert {name: count for name, count in counts.items() if count > 17} == {}  # at most 16 modules and `__init__.py`


def test_dask__is_known_to_one_room():
    found = {path.parent.name for path in MODULES.values() for name in imported_names(path)
             if name.partition(".")[0] in ("dask", "distributed")}  # fmt: skip
    assert found == {"distributed"}


def test_the_library__never_prints():
    calls = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in MODULES.values()
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
    written = (
        "['fsspec', 'zarr']" if command == "tile" else "[]"
    )  # a store is written through zarr, which brings fsspec
    assert done.stdout.splitlines()[-1] == written
