"""What the English and the Chinese site share: theme, extensions, how their pages are read."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
LANGUAGES = {"en": "English", "zh": "中文"}
"""Folder of a language in the built site -> its name in the switch."""


def settings(language: str) -> dict[str, Any]:
    """The values of a `conf.py`.

    Args:
        language: a key of `LANGUAGES`.
    """
    project = tomllib.loads((DOCS.parent / "pyproject.toml").read_text())["project"]
    (other,) = set(LANGUAGES) - {language}
    return {
        "project": "RLinf",
        "author": "The RLinf authors",
        "copyright": "The RLinf authors, Apache-2.0",
        "release": project["version"],
        "language": {"en": "en", "zh": "zh_CN"}[language],
        "extensions": [
            "myst_parser",
            "sphinx.ext.autodoc",
            "sphinx.ext.napoleon",
            "sphinx_copybutton",
            "sphinx_design",
            "generated",
            "hardware",
            "chinese",
        ],
        "autodoc_typehints": "none",
        "autodoc_member_order": "bysource",
        "add_module_names": False,
        "myst_enable_extensions": ["attrs_block", "colon_fence", "deflist"],
        "myst_heading_anchors": 4,
        "copybutton_exclude": ".linenos, .gp, .go",
        "copybutton_prompt_text": "$ ",
        "nitpicky": True,
        "nitpick_ignore_regex": [("py:.*", ".*")],  # types in docstrings are words
        "templates_path": [str(DOCS / "theme" / "templates")],
        "html_static_path": [str(DOCS / "theme" / "static")],
        "html_css_files": ["site.css"],
        "html_title": "RLinf",
        "html_sidebars": {"**": ["pages"]},
        "html_theme": "pydata_sphinx_theme",
        "html_theme_options": {
            "navbar_center": [],  # the pages are listed at the side
            "navbar_end": ["language", "theme-switcher"],
            "navbar_persistent": ["search-button"],
            "show_prev_next": True,
            "secondary_sidebar_items": ["page-toc"],
            "footer_start": ["copyright"],
            "footer_end": [],
        },
        "html_show_sourcelink": False,
        "html_context": {"other_language": other, "other_language_name": LANGUAGES[other]},
    }
