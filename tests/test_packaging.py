"""What is installed is what is there."""

import runpy
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_every_package__is_installed(monkeypatch):
    installed = {}
    monkeypatch.setattr("setuptools.setup", installed.update)
    monkeypatch.chdir(ROOT)
    runpy.run_path("setup.py")
    found = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "wsi_lpd").rglob("__init__.py")} | {
        "wsi_lpd_cli"
    }
    assert set(installed["packages"]) == found


def test_the_command_line__is_flat_and_imports_itself_relatively():
    assert not [path for path in (ROOT / "cli").iterdir() if path.is_dir() and path.name != "__pycache__"]
    for path in (ROOT / "cli").glob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert "import cli" not in text
        assert "from cli" not in text
        assert "wsi_lpd_cli" not in text.partition('"""')[2].partition('"""')[2], path.name
