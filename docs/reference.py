"""Write the pages of docs/reference from the code: python docs/reference.py.

The pages are committed, because they also read as plain files; a test compares them with the code.
"""

from pathlib import Path

from reference_pages import metrics, options, records, verbs

FOLDER = Path(__file__).parent / "reference"
PAGES = {"options": options.page, "verbs": verbs.page, "metrics": metrics.page, "records": records.page}


def pages() -> dict[Path, str]:
    """The text of each page by its path."""
    return {FOLDER / f"{name}.md": f"{page().rstrip()}\n" for name, page in PAGES.items()}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
        print(path)
