"""Text that others wrote stays text in every format."""

from __future__ import annotations

import pytest

from apportion.edges import escape


def test_html_has_no_element_and_no_quote() -> None:
    assert escape.html("<img src=x onerror='a()'>&\"") == "&lt;img src=x onerror=&#39;a()&#39;&gt;&amp;&#34;"


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        (r"\input{/etc/passwd}", r"\textbackslash{}input\{/etc/passwd\}"),
        ("50 % of $x_1$ & ~#^", r"50 \% of \$x\_1\$ \& \textasciitilde{}\#\textasciicircum{}"),
        ("two\n\nparagraphs", "two paragraphs"),
    ],
)
def test_latex_has_no_command(text: str, safe: str) -> None:
    assert escape.latex(text) == safe


def test_a_markdown_cell_stays_one_cell_without_markup() -> None:
    assert escape.markdown("a | b\n`c` [d](javascript:e) <f> & *g* $h$") == (
        r"a \| b \`c\` \[d\](javascript:e) &lt;f&gt; &amp; \*g\* \$h\$"
    )


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "  =1", "\uff1d1", "\u00a0=1", "\u200b=1", "\ufeff=1"]
)
def test_a_cell_is_no_formula(text: str) -> None:
    assert escape.cell(text).startswith("'")


def test_a_cell_of_plain_text_is_as_it_was() -> None:
    assert escape.cell("a = b - c @ 3") == "a = b - c @ 3"


def test_control_characters_and_changes_of_direction_are_left_out() -> None:
    assert escape.plain("a\x1b[31mb\u202ec\x00d\te\n\u200ff") == "a[31mbcd\te\nf"
