"""Search in Chinese pages: the index holds words, which a segmenter finds in the text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import rjieba
from sphinx.search import languages
from sphinx.search.zh import SearchChinese

if TYPE_CHECKING:
    from sphinx.application import Sphinx


class SegmentedChinese(SearchChinese):
    """Sphinx's own, with another segmenter than the one it looks for."""

    def split(self, input: str) -> list[str]:
        """The words of a text, Chinese and Latin ones."""
        latin = self.latin1_letters.findall(input)
        self.latin_terms.update(latin)
        return [*rjieba.cut_for_search(input), *latin]


def setup(app: Sphinx) -> dict[str, bool]:
    """Registers the segmenter."""
    languages["zh"] = SegmentedChinese
    return {"parallel_read_safe": True, "parallel_write_safe": True}
