"""YAML: positions for every value, and no surprises of YAML 1.1."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.common.errors import UsageError
from lab.scenario.yaml_file import parse, read


def test_plain_data_with_places():
    document = parse("a: 1\nb:\n  - 2.5\n  - {c: 10ms}\n", "f.yaml")
    assert document.data == {"a": 1, "b": [2.5, {"c": "10ms"}]}
    assert document.places["b", 1, "c"] == (4, 9)
    assert str(document.error(("b", 1, "c"), "wrong")) == "f.yaml:4:9: b[1].c: wrong"


def test_an_error_below_what_is_written_points_to_the_nearest_place():
    document = parse("swarm:\n  users: 1\n", "f.yaml")
    assert str(document.error(("swarm", "load", "rate"), "missing")).startswith("f.yaml:2:3: swarm")


@pytest.mark.parametrize(
    ("text", "where", "says"),
    [
        ("a: 010", "1:4", "010: for a number write plain decimals, for text '010'"),
        ("a: 1:30", "1:4", "1:30"),
        ("x: 1\na: yes", "2:4", "write true"),
        ("a: off", "1:4", "write false"),
        ("a: 1e3", "1:4", "for a number write 1000, for text '1e3'"),
        ("a: 1e5", "1:4", "for a number write 100000, for text '1e5'"),
        ("a: 2.5e-3", "1:4", "for a number write 0.0025, for text '2.5e-3'"),
        ("a: 1e400", "1:4", "for a number write plain decimals, for text '1e400'"),
        ("a: 1_000", "1:4", "for a number write 1000,"),
        ("a: 0x1f", "1:4", "for a number write 31,"),
        ("a: 2001-01-01", "1:4", "quote"),
        ("a: .inf", "1:4", "quote"),
        ("a: 1\na: 2", "2:1", "the key is given twice, first in line 1"),
        ("a: [", "1:5", "not YAML"),
        ("a: *x", "1:4", "undefined alias"),
        ("<<: {a: 1}", "1:1", "merge keys"),
        ("a: !!python/object:os.system x", "1:4", "tags are not supported"),
        ("? [a]\n: 1", "1:3", "plain scalar"),
        ("[" * 3000, "1:1", "nested deeper"),
        ("[" * 60 + "]" * 60, "1:4", "nested deeper"),
        ("a: 1\n\x00", "2:1", "not YAML"),
    ],
)
def test_refuses_with_position(text, where, says):
    with pytest.raises(UsageError) as caught:
        parse(text, "f.yaml")
    assert str(caught.value).startswith(f"f.yaml:{where}: ")
    assert says in str(caught.value)


def test_an_alias_bomb_is_refused_before_it_expands():
    bomb = "a: &a [1,1,1,1,1,1,1,1,1]\n" + "\n".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]" for i in range(8)
    )
    with pytest.raises(UsageError, match="aliases are expanded"):
        parse(bomb, "f.yaml")


def test_files(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        read(tmp_path / "missing.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"a: 1\nb: \xff\n")
    with pytest.raises(UsageError, match=r"latin.yaml:2:1: the file is not UTF-8"):
        read(tmp_path / "latin.yaml")
    (tmp_path / "huge.yaml").write_bytes(b"#" * (1 << 20) + b"\n")
    with pytest.raises(UsageError, match="larger than 1 MiB"):
        read(tmp_path / "huge.yaml")


@given(st.text(max_size=200))
def test_any_text_is_data_or_one_usage_error(text):
    try:
        parse(text, "f.yaml")
    except UsageError as error:
        assert str(error).startswith("f.yaml:")
