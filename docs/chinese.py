"""Chinese pages: the search finds words in the text; the end of a line in a source is no space."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import rjieba
from docutils import nodes
from sphinx.search import languages
from sphinx.search.zh import SearchChinese
from sphinx.transforms import SphinxTransform

from line_ends import join_lines

if TYPE_CHECKING:
    from sphinx.application import Sphinx


class SegmentedChinese(SearchChinese):
    """Sphinx's own, with another segmenter than the one it looks for."""

    def split(self, input: str) -> list[str]:
        """The words of a text, Chinese and Latin ones."""
        latin = self.latin1_letters.findall(input)
        self.latin_terms.update(latin)
        return [*rjieba.cut_for_search(input), *latin]


class JoinedLines(SphinxTransform):
    """Joins the lines of running text; blocks of code keep theirs."""

    default_priority = 500

    def apply(self, **_: object) -> None:
        """Changes the texts of the document in place."""
        for element in list(self.document.findall(nodes.TextElement)):
            if isinstance(element, nodes.FixedTextElement):
                continue
            runs = groupby(element.children, lambda child: isinstance(child, nodes.Text))
            joined: list[nodes.Node] = []
            for is_text, run in runs:  # MyST makes a line end a text of its own
                texts = list(run)
                if is_text:
                    texts = [nodes.Text(join_lines("".join(text.astext() for text in texts)))]
                joined += texts
            element.children = []
            element.extend(joined)


def setup(app: Sphinx) -> dict[str, bool]:
    """Registers both."""
    languages["zh"] = SegmentedChinese
    app.add_transform(JoinedLines)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
