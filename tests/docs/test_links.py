"""Every link of the Markdown leads somewhere, its anchor too; the site builds without a warning."""

import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.support.documents import ROOT, anchors, links, others, pages

ALL = [*pages(), *others()]
# LOG.md names the files of its time.
LIVING = [page for page in ALL if page.name != "LOG.md"]


def problem(page: Path, link: str) -> str | None:
    """What is wrong with a link, or None."""
    if re.match(r"[a-z]+:", link):
        return None if link.startswith("https://") else "not https"
    path, _, anchor = link.partition("#")
    target = (page.parent / unquote(path)).resolve() if path else page
    if not target.exists():
        return "no such file"
    if not target.is_relative_to(ROOT):
        return "outside of the repository"
    if anchor and (target.suffix != ".md" or anchor not in anchors(target)):
        return f"no such heading; there are: {', '.join(sorted(anchors(target)))}"
    # The site has the pages of docs/ alone.
    if page.is_relative_to(ROOT / "docs") and not target.is_relative_to(ROOT / "docs"):
        return "leads out of docs/; name the file instead"
    return None


@pytest.mark.parametrize("page", ALL, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    broken = {link: found for link in links(page) if (found := problem(page, link))}
    assert not broken


def test_a_broken_link_is_found() -> None:
    readme = ROOT / "README.md"
    assert problem(readme, "docs/none.md") == "no such file"
    assert "no such heading" in str(problem(readme, "docs/glossary.md#none"))
    assert problem(ROOT / "docs" / "glossary.md", "../README.md") == "leads out of docs/; name the file instead"
    assert problem(readme, "docs/glossary.md#glossary") is None


@pytest.mark.parametrize("folder", ["src", "conf", "bench", "tests", "analysis", "docs", "."])
def test_pages_that_texts_name_are_there(folder: str) -> None:
    """Docstrings, comments and YAML name pages by their path."""
    files = [
        path
        for suffix in ("py", "yaml", "md", "toml", "cff")
        for path in ((ROOT / folder).rglob(f"*.{suffix}") if folder != "." else ROOT.glob(f"*.{suffix}"))
        if path in LIVING or path.suffix != ".md"
    ]
    named = {
        (str(path.relative_to(ROOT)), name)
        for path in files
        for name in re.findall(r"(?<![\w/.])docs/[\w/-]+\.(?:md|png|svg|py)\b", path.read_text(encoding="utf-8"))
    }
    assert {(path, name) for path, name in named if not (ROOT / name).exists() and name != "docs/none.md"} == set()


def test_every_page_is_in_the_navigation_and_the_site_builds(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    built = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert built.returncode == 0, built.stdout + built.stderr
    index = (tmp_path / "site" / "search" / "search_index.json").read_text(encoding="utf-8")
    assert "bidirectional span" in index


def test_no_line_of_the_readme_is_long() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if len(line) > 120] == []
