"""A page's tags and tables."""

import re
from html.parser import HTMLParser


class Tags(HTMLParser):
    """Every tag's attributes, the text, and that what is opened is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.opened: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in ("meta", "link", "br", "wbr"):
            self.opened.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.opened.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def table(text: str, kind: str) -> list[list[str]]:
    """The cells of the first table of a class."""
    found = re.search(rf'<table class="{kind}">.*?</table>', text, re.DOTALL)
    assert found, kind
    rows = re.findall(r"<tr.*?</tr>", found[0], re.DOTALL)
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in rows]
