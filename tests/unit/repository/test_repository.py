"""The repository keeps its own promises: links resolve, verbs exist, pins carry hashes."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def tracked(*patterns: str) -> list[Path]:
    result = subprocess.run(
        ["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=True,
        timeout=60,
    )  # fmt: skip
    return [ROOT / line for line in result.stdout.splitlines() if (ROOT / line).is_file()]


def relative_links(text: str) -> list[str]:
    found = re.findall(r"\]\(([^)\s]+)\)", text)
    return [link for link in found if not link.startswith(("http://", "https://", "#", "mailto:"))]


@pytest.mark.parametrize("page", tracked("*.md"), ids=lambda p: str(p.relative_to(ROOT)))
def test_every_relative_link_of_a_page_leads_somewhere(page: Path) -> None:
    links = [link.split("#")[0] for link in relative_links(page.read_text(encoding="utf-8"))]
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_page_of_docs_is_reachable_from_the_readme() -> None:
    """A link to a folder leads to every page in it."""
    pages = {page.resolve() for page in tracked("*.md")}
    seen, ahead = set[Path](), {ROOT / "README.md"}
    while ahead:
        page = ahead.pop()
        seen.add(page)
        for link in relative_links(page.read_text(encoding="utf-8")):
            target = (page.parent / link.split("#")[0]).resolve()
            ahead |= {p for p in pages if target in (p, p.parent)} - seen
    assert sorted(str(p.relative_to(ROOT)) for p in pages - seen) == []


def named_in_the_architecture() -> set[Path]:
    """Paths of the block that shows the tree; `<name>` is written as `*`."""
    block = (ROOT / "ARCHITECTURE.md").read_text().split("```")[1]
    found, parents = set(), {0: Path()}
    for line in block.strip("\n").splitlines():
        indent = len(line) - len(line.lstrip())
        names = re.split(r"\s{2,}", line.strip())[0].split(" ")
        for name in names:
            found.add(parents[indent] / re.sub(r"<\w+>", "*", name))
        parents[indent + 2] = parents[indent] / names[0]
    return found


def test_the_architecture_shows_the_tree_as_it_is() -> None:
    named = named_in_the_architecture()
    assert [str(path) for path in named if not any(ROOT.glob(str(path)))] == []
    top = {path.relative_to(ROOT).parts[0] for path in tracked()} - {".gitignore"}
    assert top - {path.parts[0] for path in named} == set()


def test_roles_do_not_depend_on_roles() -> None:
    """Playbooks put roles together."""
    words = re.compile(r"(?:include|import)_role|^dependencies:", re.MULTILINE)
    files = tracked("ansible/roles/*/tasks/*.yml", "ansible/roles/*/meta/*.yml")
    assert files
    assert [str(path) for path in files if words.search(path.read_text())] == []


def test_modules_do_not_call_modules() -> None:
    """The root module puts modules together."""
    files = tracked("terraform/modules/*.tf")
    assert files
    assert [str(f) for f in files if re.search(r'^module "', f.read_text(), re.MULTILINE)] == []


def test_every_make_verb_a_page_names_exists() -> None:
    verbs = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        verb
        for page in tracked("*.md")
        for verb in re.findall(r"(?:^|`)make ([a-z][a-z-]+)", page.read_text(), re.MULTILINE)
    }
    assert named - verbs == set()


@pytest.mark.parametrize("name", [p.name for p in tracked("requirements/*.txt")])
def test_requirements_are_pinned_with_hashes_and_name_no_index(name: str) -> None:
    text = (ROOT / "requirements" / name).read_text()
    pins = re.findall(r"^[A-Za-z0-9][\w.\-\[\],]*==.*$", text, re.MULTILINE)
    unhashed = [pin for pin in pins if not pin.endswith("\\")]
    assert (len(pins) > 0, unhashed) == (True, [])
    assert re.findall(r"--(?:extra-)?index-url|--find-links|https?://\S*simple", text) == []


def test_no_file_names_a_package_index_or_a_home_folder() -> None:
    dot = r"\."
    pattern = re.compile(
        rf"pypi{dot}org|pythonhosted{dot}org|npmjs{dot}(org|com)|/root[/]\.|/home/\w+/"
    )
    bad = []
    for path in tracked():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        bad += [f"{path.relative_to(ROOT)}: {m[0]}" for m in pattern.finditer(text)]
    assert bad == []


def test_every_program_of_the_distribution_has_its_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    folders = {"sglctl": "cli", "sglworker": "worker", "sglrouter": "router", "sglocal": "local"}
    assert set(project["scripts"]) == set(folders)
    assert all((ROOT / top / name / "__main__.py").is_file() for name, top in folders.items())
