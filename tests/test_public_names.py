"""Every package states its public names, and importing one costs next to nothing."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import wsi_lpd

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / "wsi_lpd").rglob("__init__.py"))
PACKAGES = [".".join(path.parent.relative_to(ROOT).parts) for path in FILES]
OFFERED = ["PatchStore", "evaluate", "load_model", "open_slide", "read_overlay", "segment", "tile", "train"]


def stated_in(package):
    """The names of a package's literal `__all__`, and those that it imports, for type checkers or at once."""
    tree = ast.parse((ROOT / Path(*package.split(".")) / "__init__.py").read_text(encoding="utf-8"))
    lists = [n.value for n in tree.body if isinstance(n, ast.Assign) and n.targets[0].id == "__all__"]
    inside = [
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module not in ("typing", "__future__", "wsi_lpd.lazy")
        for alias in node.names
    ]
    assert len(lists) == 1, f"{package} states no __all__"
    return ast.literal_eval(lists[0]), inside


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package__states_names_that_are_there(package):
    names, imported = stated_in(package)
    assert names
    assert len(set(names)) == len(names)
    module = importlib.import_module(package)
    if package.startswith("wsi_lpd.methods."):  # a declaration: what it states, it defines
        assert "METHOD" in names
        assert not set(names) & set(imported)
        return
    assert sorted(names) == sorted([*imported, *(["__version__"] if package == "wsi_lpd" else [])])
    for name in names:
        value = getattr(module, name)
        assert value is not None
        assert not isinstance(value, type(sys)), f"{package}.{name} is a module"
    assert set(names) <= set(dir(module))
    with pytest.raises(AttributeError, match="no_such_name"):
        module.no_such_name  # noqa: B018


@pytest.mark.parametrize("package", PACKAGES)
def test_no_public_name__is_that_of_a_module(package):
    folder = ROOT / Path(*package.split("."))
    modules = {path.stem for path in folder.glob("*.py")} | {p.parent.name for p in folder.glob("*/__init__.py")}
    assert not modules & set(stated_in(package)[0]), "importing the module would hide the name"


def test_the_library__offers_what_it_promises():
    assert set(OFFERED) <= set(wsi_lpd.__all__)
    for name in OFFERED:
        assert len(getattr(wsi_lpd, name).__doc__) > 40


LAZY = [p for p, path in zip(PACKAGES, FILES, strict=True) if "lazy_names(" in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("package", [name for name in LAZY if not name.startswith("wsi_lpd.slide.")])
def test_importing__is_light(package):
    heavy = ("torch", "timm", "zarr", "scipy", "distributed", "shapely", "numpy", "openslide", "cv2", "pydantic")
    program = f"import sys\nimport {package}\nprint([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    found = done.stdout.strip()
    if package == "wsi_lpd.methods":  # the configuration, which reads what the methods declare
        assert found == "['pydantic']"
        return
    assert found == "[]"
