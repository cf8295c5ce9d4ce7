"""Results for people and machines: text, LaTeX, JSON and pictures."""

from symtheory.report._axes import draw_axes as draw_axes
from symtheory.report._data import SCHEMA_VERSION as SCHEMA_VERSION
from symtheory.report._data import experiment_data as experiment_data
from symtheory.report._data import law_data as law_data
from symtheory.report._picture import draw as draw
from symtheory.report._picture import save as save
from symtheory.report._text import experiment_lines as experiment_lines
from symtheory.report._text import law_lines as law_lines
from symtheory.report._text import mark as mark
from symtheory.report._text import verdict_lines as verdict_lines
