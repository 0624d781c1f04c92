"""The Chinese site: what Sphinx reads first."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from common import settings

globals().update(settings("zh"))
