"""README.md and docs/: their length, what their code blocks may skip, and the wording of everything users read."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_code_blocks_are_skipped_for_two_reasons_only(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    skips = re.findall(r"<!-- *skip: *(.*?) *-->", text)
    assert set(skips) <= {'next "needs a network"', 'next "needs an accelerator"'}
    assert not re.search(r"^```(?!python$|bash$|toml$|text$|$)", text, re.MULTILINE), "a block of an unknown language"


BANNED = (  # archaic or translated wording
    "so many", "whatever", "dear", "anew", "tells", "told", "heard of", "made of", "goes on", "refused by name",
    "what is left of", "what is left is", "in reach", "out of reach", "as ever", "strangers", "mistyped", "thereby",
)  # fmt: skip
SOURCES = ("bark_jax", "convert", "recipes", "benchmarks")


def worded_files() -> list[Path]:
    """What is read by people: documents and the sources with their docstrings, comments, messages and help."""
    pages = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "mkdocs.yml")]
    sources = [path for folder in SOURCES for path in sorted((ROOT / folder).rglob("*.py"))]
    return [*pages, *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "docs").rglob("*.ipynb")), *sources]


def test_the_wording_is_plain() -> None:
    banned = re.compile(rf"\b(?:{'|'.join(BANNED)})\b".replace(" ", r"\s+(?:#\s*)?"), re.IGNORECASE)
    found = [
        f"{path.relative_to(ROOT)}: {match[0]!r}"
        for path in worded_files()
        for match in banned.finditer(path.read_text(encoding="utf-8"))
    ]
    assert not found, "\n".join(found)
