"""One scalar of a YAML file is replaced, and every other byte stays; what cannot be done so is refused in words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctrlplane_stream.actuators.gitops.yaml_text import FieldTrouble, Locator, path_problem, value_at, with_value

NEW = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("text", "path", "after"),
    [
        ("a: x # why\n", "a", f"a: {NEW} # why\n"),
        ("a: 'x'\r\nb: 1\r\n", "a", f"a: '{NEW}'\r\nb: 1\r\n"),
        ('é: "ü"\na:   "x"', "a", f'é: "ü"\na:   "{NEW}"'),
        ("\ufeffa: x\n", "a", f"\ufeffa: {NEW}\n"),
        ("a:\nb: 1\n", "a", f"a: {NEW}\nb: 1\n"),
        ("a: # nothing yet\n", "a", f"a: {NEW} # nothing yet\n"),
        ("{b: [1, 2], a: x}\n", "a", f"{{b: [1, 2], a: {NEW}}}\n"),
        ("l:\n- {name: p, d: 1}\n- name: q\n  d: 2\n", "l[name=q].d", f"l:\n- {{name: p, d: 1}}\n- name: q\n  d: {NEW}\n"),
        ("l: [x, y]\n", "l[1]", f"l: [x, {NEW}]\n"),
        ('m: {"a.b/c": x}\n', 'm["a.b/c"]', f'm: {{"a.b/c": {NEW}}}\n'),
        ("---\na: x\n...\n", "a", f"---\na: {NEW}\n...\n"),
        ('{"a":"x","b":[1]}\n', "a", f'{{"a":"{NEW}","b":[1]}}\n'),
    ],
)
def test_only_the_value_changes(text: str, path: str, after: str) -> None:
    assert with_value(text, Locator(path), NEW) == after
    assert value_at(after, Locator(path)) == NEW


def test_a_manifest_is_chosen_by_kind_and_name_among_others() -> None:
    others = "kind: Service\nmetadata: {name: a}\n---\nkind: Deployment\nmetadata: {name: b}\nspec: {x: 1}\n---\n"
    text = others + "kind: Deployment\nmetadata:\n  name: a\nspec: {x: 1}\n"
    assert with_value(text, Locator("spec.x", "Deployment", "a"), "2").endswith('name: a\nspec: {x: "2"}\n')


@pytest.mark.parametrize(
    ("text", "path", "words"),
    [
        ("a: {{ .Values.a }}\n", "a", "is no single value"),
        ("a: b: c\n", "a", "is no YAML"),
        ("\tx\n", "a", "is no YAML"),
        ("b: 1\n", "a", "add it once"),
        ("l: [{name: p}]\n", "l[name=q].d", "name=q"),
        ("a: {b: 1}\n", "a", "no single value"),
        ("a: |\n  x\n", "a", "on one line"),
        ("a: 1\na: 2\n", "a", "leave one"),
        ("a: &v x\nb: *v\n", "a", "anchored"),
        ("b: &v x\na: *v\n", "a", "anchored|referred to"),
        ("x: &v {a: 1}\ny: *v\n", "x.a", "anchored"),
        ("x: &v {a: 1}\ny: {<<: *v}\n", "y.a", "add it once"),
        ("a: !!str x\n", "a", "has a tag"),
        ("a: 1\n---\na: 2\n", "a", "2 documents"),
        ("", "a", "0 documents"),
        ("- a\n", "a", "add it once"),
    ],
)
def test_what_would_touch_more_than_one_value_is_refused_in_words(text: str, path: str, words: str) -> None:
    with pytest.raises(FieldTrouble, match=words):
        with_value(text, Locator(path), NEW)


@pytest.mark.parametrize("path", ["", "a..b", "a[", "a]b", "a."])
def test_a_path_that_is_none_is_named(path: str) -> None:
    assert path_problem(path) is not None


@given(
    value=st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), max_size=30), quote=st.sampled_from(["", "'", '"'])
)
def test_any_value_of_one_line_is_read_back_as_it_was_written_or_refused(value: str, quote: str) -> None:
    """However it looks: like a number, a comment, an alias or a quote."""
    text = f"# top\nbefore: 1\na: {quote}x{quote}   # why\nafter: [2]\n"
    try:
        changed = with_value(text, Locator("a"), value)
    except FieldTrouble:
        return
    assert value_at(changed, Locator("a")) == value
    assert changed.startswith("# top\nbefore: 1\na: ")
    assert changed.endswith("   # why\nafter: [2]\n")
