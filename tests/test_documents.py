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
