"""Every figure of both papers, drawn from this package: theory as lines, ensembles as bands.

A file has three functions:

=============================  ===================================================================
`data(spec) -> Dataset`        arrays by name: what theory says and what was simulated
`draw(dataset) -> Figure`      the picture; it never simulates
`numbers(dataset) -> Numbers`  the table beside it: theory against measured, and papers' claims
=============================  ===================================================================

and says what it is in `TITLE`, `CAPTION` and `STATEMENTS`. Draw one with `python -m figures F2`,
all with `symtheory figures`.
"""

from figures._made import Made as Made
from figures._made import conclusion as conclusion
from figures._maker import make as make
from figures._page import write_page as write_page
from figures._registry import Entry as Entry
from figures._registry import entries as entries
from figures._registry import find as find
from figures._spec import Dataset as Dataset
from figures._spec import Numbers as Numbers
from figures._spec import Spec as Spec
from figures._spec import said as said
