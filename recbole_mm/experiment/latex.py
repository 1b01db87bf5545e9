"""A table of a report for a paper in LaTeX, which needs the package booktabs."""

from __future__ import annotations

from collections.abc import Iterator

from recbole_mm.experiment.sections import BEST, SECOND, SHOWN, Section

_SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$",
}  # fmt: skip


def latex(section: Section) -> str:
    """The table with booktabs' rules: the best of a column bold, the second underlined, a dagger where it is shown.

    Columns of texts stand to the left, those of numbers to the right.
    """
    return "\n".join(_lines(section)) + "\n"


def _lines(section: Section) -> Iterator[str]:
    table = section.table.fillna("")
    numbers = ["r" if name in {column for _, column in section.marks} else "l" for name in table]
    yield r"% \usepackage{booktabs}"
    if section.marks:
        yield r"% bold: best; underlined: second; dagger: shown to be better than the row compared with"
    yield rf"\begin{{tabular}}{{{''.join(numbers)}}}"
    yield r"\toprule"
    yield " & ".join(map(_escaped, table.columns)) + r" \\"
    yield r"\midrule"
    for number, row in enumerate(table.itertuples(index=False)):
        yield (
            " & ".join(
                _cell(cell, section.marks.get((number, name), set())) for cell, name in zip(row, table, strict=True)
            )
            + r" \\"
        )
    yield r"\bottomrule"
    yield r"\end{tabular}"


def _cell(value: object, marks: set[str]) -> str:
    text = _escaped(value)
    if BEST in marks:
        text = rf"\textbf{{{text}}}"
    elif SECOND in marks:
        text = rf"\underline{{{text}}}"
    return text + (r"$^\dagger$" if SHOWN in marks else "")


def _escaped(value: object) -> str:
    return "".join(_SPECIAL.get(letter, letter) for letter in str(value))
