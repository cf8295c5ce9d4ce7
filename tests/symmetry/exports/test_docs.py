"""What docs/exports.md shows must run and print what the text says."""

import pathlib
import re

PAGE = pathlib.Path(__file__).parents[3] / "docs" / "exports.md"


def test_the_page_runs(capsys):
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 4
    # One file for all, so that the lines of the loss are known.
    space: dict = {}
    exec(compile("\n".join(blocks), str(PAGE), "exec"), space)
    printed = capsys.readouterr().out
    assert [row.kind for row in space["table"].rows] == ["neither"] * 4
    [family] = space["approximate"].families
    assert sorted(family.leaves) == ["W", "b"]
    assert "1e-06 under a root at exports.md:" in printed
    assert space["aligned"].distance_after < space["aligned"].distance_before
    assert str(space["aligned"].verdict.status) == "proved"
