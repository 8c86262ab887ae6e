"""YAML from strangers: what it repeats, how deep it goes, what its tags make, and how long a message becomes."""

import pytest
from pydantic import Field

from ulmus.errors import LONGEST, ConfigError
from ulmus.files.reading import read_yaml
from ulmus.settings import Settings, parse_value, parse_yaml, validated


class Example(Settings):
    """Some settings."""

    name: str = ""
    rate: float = Field(default=1.0, gt=0)
    count: int = 0
    names: tuple[str, ...] = ()
    pair: tuple[int, int] = (0, 0)


def read(text):
    return validated(Example, parse_yaml(text, "a.yaml", "'name'"), "a.yaml", "set {key}")


def lines(levels):
    first = "q0: &a0 [x, x, x, x, x, x, x, x, x, x]"
    more = (f"q{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, levels))
    return "\n".join([first, *more])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (lines(30), "many of them repeated by anchors; expected at most"),
        ("name: &a [*a]", "contains itself"),
        ("name: " + "[" * 3000 + "]" * 3000, "nested too deeply"),
        ('name: !!timestamp "x"', "not YAML"),
        ("name: !!python/object/apply:os.system [ls]", "not YAML"),
        ("count: " + "9" * 5000, "not YAML"),
        ("count: 123456789012345678901234567890", "about 2^96"),
        ("rate: .inf", "'rate' is inf"),
        ("rate: .nan", "'rate' is nan"),
        ("names: 5", "'names' is 5: expected a list"),
        ("pair: [1, 2, 3]", "list should have at most 2 items"),
        ("{[a]: 1}", "not YAML"),
        ("a: [", "not YAML"),
        ("\x00", "not YAML"),
        ("- 1", "holds list; expected keys"),
        ("name: [" + "x, " * 20_000 + "x]", "'name' is"),
    ],
)
def test_text_that_is_no_settings_is_refused_in_a_short_message(text, message):
    with pytest.raises(ConfigError, match=r"a\.yaml|anchor") as caught:
        read(text)
    assert message in str(caught.value)
    assert len(str(caught.value)) <= LONGEST


def test_anchors_dates_and_hours_are_read_as_they_are_written():
    found = read("name: 2001-02-03\nnames: [&a x, *a, 3:45]\ncount: 7")
    assert found == Example(name="2001-02-03", names=("x", "x", "3:45"), count=7)


def test_only_the_first_mistakes_are_told():
    with pytest.raises(ConfigError, match="and 7 more") as caught:
        read("\n".join(f"k{number}: 1" for number in range(10)))
    assert len(str(caught.value)) <= LONGEST


def test_files_are_utf8_whatever_the_locale(tmp_path, monkeypatch):
    monkeypatch.setenv("LC_ALL", "C")
    (tmp_path / "a.yaml").write_bytes("\ufeffname: grün".encode())
    assert read_yaml(tmp_path / "a.yaml", "'name'") == {"name": "grün"}
    (tmp_path / "a.yaml").write_bytes("name: grün".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"a\.yaml is not UTF-8"):
        read_yaml(tmp_path / "a.yaml", "'name'")
    (tmp_path / "a.yaml").write_bytes(b"#" * 2_000_000)
    with pytest.raises(ConfigError, match="2000000 bytes; expected at most"):
        read_yaml(tmp_path / "a.yaml", "'name'")


def test_values_of_the_command_line():
    assert parse_value("3") == 3
    assert parse_value("[1, a]") == [1, "a"]
    with pytest.raises(ConfigError, match="a value is not YAML"):
        parse_value('!!timestamp "x"')
