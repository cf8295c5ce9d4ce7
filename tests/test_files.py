"""A file is replaced as a whole or not at all."""

import pytest

from symtheory.files import replacing


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "a.npz"
    path.write_text("old")
    with replacing(path) as new:
        new.write_text("half")
        assert path.read_text() == "old" and new.suffix == ".npz"
    assert path.read_text() == "half"


def test_a_block_that_fails_leaves_no_trace(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as new:
        new.write_text("half")
        raise KeyboardInterrupt
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("a.txt", "old")]


def test_nothing_written_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "a.txt"):
        pass


def test_two_writers_do_not_meet(tmp_path):
    path = tmp_path / "a.txt"
    with replacing(path) as one:
        one.write_text("one")
        with pytest.raises(ValueError), replacing(path) as two:
            two.write_text("two")
            raise ValueError
        with replacing(path) as three:
            three.write_text("three")
        assert path.read_text() == "three"
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("a.txt", "one")]
