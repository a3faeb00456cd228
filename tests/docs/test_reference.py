"""docs/reference says what the code says."""

import pytest

import reference
from tests.support.documents import ROOT


@pytest.mark.parametrize("path", reference.pages(), ids=lambda path: path.stem)
def test_a_page_is_what_the_code_writes(path: object) -> None:
    [(page, text)] = [(page, text) for page, text in reference.pages().items() if page == path]
    assert page.read_text(encoding="utf-8") == text, "out of date; type: python docs/reference.py"


def test_every_choice_and_key_has_its_line() -> None:
    text = (ROOT / "docs" / "reference" / "options.md").read_text(encoding="utf-8")
    for path in (ROOT / "conf").glob("[!h]*/[!_]*.yaml"):
        assert f"| `{path.stem}` | " in text, path
    for key in ("optimizer.learning_rate", "lesson.baseline", "hydra.sweeper.n_trials", "mixture.max_epochs"):
        assert f"| `{key}` | " in text
