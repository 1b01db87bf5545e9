"""Pages from Jinja2 templates, of analyses and experiments: what is put into them is text, and nothing is markup."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from recbole_mm.io.files import atomic_file


def write_page(file: Path, template: str, package: str = "recbole_mm.analysis", **values: Any) -> Path:
    """Write a page whole or not at all; gives its path.

    Args:
        file: the page; what it shows lies beside it and is linked by relative addresses.
        template: path within the folder of `package`, such as `attribution/page.html`; it extends `page.html` of ours.
        package: that has the template.
        values: what the template names; a name that is missing is an error.
    """
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package, ""), PackageLoader("recbole_mm.analysis", "")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    content = environment.get_template(template).render(values)
    with atomic_file(file) as temporary:
        temporary.write_text(content, encoding="utf-8")
    return file
