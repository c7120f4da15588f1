"""The manual names what is there: rooms and their order, links, paths, pictures."""

import re
from pathlib import Path

import pytest
from test_architecture import MODULES, imports, room_of

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("docker/*.md"), *ROOT.glob("benchmarks/*.md")])
OWN_FOLDERS = "(?:benchmarks|cli|configs|docker|docs|tests|wsi_lpd)"
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def anchors(page):
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link__leads_somewhere(page):
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), f"{target} does not exist"
        if anchor and path.suffix == ".md":
            assert anchor in anchors(path), f"{path.name} has no heading {anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_path_of_the_project__exists(page):
    named = re.findall(rf"`({OWN_FOLDERS}/[\w./-]*)`", page.read_text(encoding="utf-8"))
    assert [path for path in named if not (ROOT / path).exists()] == []


def rooms_of_the_table():
    """Rooms in the order of the table in CONTRIBUTING."""
    return re.findall(r"^\| `(\w+)` \|", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), flags=re.MULTILINE)


def test_contributing__maps_every_room():
    assert sorted(rooms_of_the_table()) == sorted(path.parent.name for path in (ROOT / "wsi_lpd").glob("*/__init__.py"))


def test_contributing__says_which_rooms_import_one_above_them():
    place = {room: i for i, room in enumerate(rooms_of_the_table())}
    arrows = {(room_of(module), room_of(name)) for module in MODULES for name in imports(module)}
    upwards = {(one, other) for one, other in arrows if one in place and other in place and place[other] < place[one]}
    assert upwards == {("config", "methods"), ("stores", "labels")}


def test_the_first_picture__is_there_and_small():
    picture = re.search(r"!\[[^\]]+\]\(([^)]+)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert (ROOT / picture.group(1)).stat().st_size < 300_000


def test_the_readme__names_every_command():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = {path.stem.replace("_", "-") for path in (ROOT / "cli").glob("[a-z]*.py")} - {"main"}
    assert {name for name in commands if f"`{name}" not in text and f"`{name}`" not in text} == set()
