"""The pages of the site that are not written by hand: cards, laws, figures, and documents from elsewhere.

MkDocs calls the functions that begin with `on_`. `tox -e docs` builds the site.
"""

from __future__ import annotations

import contextlib
import io
import posixpath
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

ELSEWHERE = (
    "CHANGELOG.md", "CONTRIBUTING.md", "examples/README.md", "results/README.md",
    "results/reference/frameworks.md", "results/reference/engines.md", "results/reference/coverage.md",
    "results/reference/cpu/benchmarks.md", "results/reference/cpu/discrepancies.md",
    "results/reference/cpu/learning_rates.md", "results/reference/kept-as-views.svg",
)  # fmt: skip
"""Documents of the repository that lie outside docs/ and are pages, or on pages, of the site."""

ENDINGS = {".py": "python", ".toml": "toml", ".ini": "ini", ".yml": "yaml"}
"""Files that are shown as code where a page links to them."""

_LINK = re.compile(r"(?<=\]\()(?!https?:|#|mailto:)([^)#\s]+)(#[^)\s]*)?(?=\))")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is not in docs/: the registries' cards, figures, and the repository's own documents."""
    for path, content in {**pages(), **figures()}.items():
        files.append(File.generated(config, path, content=content))
    linked = {target for path in _texts(files) for target in _targets(path)}
    for path in sorted({*ELSEWHERE, *linked}):
        source = ROOT / path
        if source.suffix in ENDINGS:
            code = f"# {path}\n\n```{ENDINGS[source.suffix]}\n{source.read_text(encoding='utf-8')}```\n"
            files.append(File.generated(config, f"{path}.md", content=code))
        elif source.is_file():
            files.append(File.generated(config, path, abs_src_path=str(source)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links of documents as the site has them: docs/ is its root, and code has a page."""
    del config, files
    here = posixpath.dirname(page.file.src_uri)

    def as_on_the_site(found: re.Match[str]) -> str:
        path = _in_repository(found[1], page.file.src_uri)
        path = path.removeprefix("docs/").removesuffix("/")
        if (ROOT / path).is_dir() and not (ROOT / "docs" / path).exists():
            path = f"{path}/README.md" if (ROOT / path / "README.md").exists() else "CONTRIBUTING.md"
        if path == "README.md":
            path = "index.md"
        if Path(path).suffix in ENDINGS:
            path = f"{path}.md"
        return posixpath.relpath(path, here or ".") + (found[2] or "")

    return _LINK.sub(as_on_the_site, markdown)


def pages() -> dict[str, str]:
    """The pages that registries make."""
    return {
        "reference/conventions.md": "\n".join(_conventions()),
        "reference/papers.md": "\n".join(_cards("Papers", "papers", PAPERS)),
        "reference/frameworks.md": "\n".join(_cards("Frameworks' words", "frameworks", FRAMEWORKS)),
        "reference/optimizers.md": "\n".join(_optimizers()),
        "reference/gallery.md": "\n".join(_gallery()),
        "reference/python.md": "\n".join(_python()),
    }


PAPERS = (
    "One card a paper: the convention of its code, its hyperparameters, and where each is stated. "
    "`gradsuite lr --paper NAME --to mean` converts them."
)
FRAMEWORKS = (
    "What frameworks call their ways from losses to one gradient. `gradsuite lr --from NAME --to NAME` "
    "converts between them."
)
FIGURES = {
    "discrepancy": "How far each two conventions are apart, and whether a learning rate can repair it.",
    "scale": "How the scale of a convention goes with the batch size.",
    "trajectory": "How two trainings part: with equivalent hyperparameters, and with unchanged ones.",
    "noise-scale": "The noise of a batch's gradient, from which batch-size rules follow.",
    "weights": "The weights that recovery found in a training loop.",
}
"""Each kind of figure, and what it shows."""


def figures() -> dict[str, bytes]:
    """Each kind of figure, drawn from the reference run, in vector graphics."""
    from suite.cli.main import main

    drawn = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind in FIGURES:
            out = Path(folder) / f"{kind}.svg"
            run = "claims/reduction-methods" if kind == "weights" else str(ROOT / "results/reference/cpu")
            with contextlib.redirect_stdout(io.StringIO()):
                code = main(["plot", run, "--kind", kind, "--out", str(out)])
            if code != 0:
                raise RuntimeError(f"gradsuite plot --kind {kind} failed")
            drawn[f"reference/{kind}.svg"] = out.read_bytes()
    return drawn


def _conventions() -> Iterator[str]:
    from suite.conventions import conventions

    yield "# Conventions\n"
    yield "A convention weighs each unit's gradient. `gradsuite show NAME` prints one of these cards.\n"
    for family in dict.fromkeys(found.family for found in conventions):
        yield f"## {family}\n"
        for found in conventions:
            if found.family == family:
                yield from _card(found.card(), "convention", level=3)


def _cards(title: str, kind: str, about: str) -> Iterator[str]:
    from suite.cli.catalogue import catalogue

    yield f"# {title}\n\n{about}\n"
    for found in catalogue(kind, []):
        yield from _card(found.card(), next(iter(found.card())), level=2)


def _card(card: dict[str, Any], name: str, level: int) -> Iterator[str]:
    """A card as a heading and a table, with the name as its anchor."""
    yield f"{'#' * level} `{card[name]}` {{#{_anchor(str(card[name]))}}}\n"
    yield "| | |\n|---|---|"
    for key, value in card.items():
        if value and key != name:
            yield f"| {key} | {_cell(str(value))} |"
    yield ""


def _optimizers() -> Iterator[str]:
    from suite.equivalence.laws import LAWS

    yield "# Optimizers\n"
    yield (
        "How each hyperparameter of an optimizer goes with the scale `s` of the gradient: new value = old "
        "value × this. `gradsuite lr --laws` prints the same. [Equivalent hyperparameters]"
        "(../hyperparameters.md) says what that is for.\n"
    )
    for law in LAWS:
        yield f"## {law.name}\n\nRead in {_cell(law.source)}.\n"
        yield "| hyperparameter | default | new = old × | why |\n|---|---|---|---|"
        for name, entry in law.hyperparameters.items():
            if entry.why != "an option":
                power, default = _power(entry.exponent), _cell(str(entry.default))
                yield f"| {name} | {default} | {power} | {_cell(entry.why)} |"
        yield ""
        if law.limits:
            yield f"Limits: {_cell(law.limits)}\n"


def _gallery() -> Iterator[str]:
    yield "# Gallery of figures\n"
    yield "Drawn from the reference run by `gradsuite plot RUN --kind KIND --out FILE`.\n"
    for kind, about in FIGURES.items():
        yield f"## {kind}\n\n{about}\n\n[![{about}]({kind}.svg)]({kind}.svg)\n"


def _python() -> Iterator[str]:
    import gradsuite

    yield "# Python\n\n`import gradsuite` gives these names, and imports nothing before it is used.\n"
    for name in sorted(gradsuite.__all__):
        found = getattr(gradsuite, name)
        if isinstance(found, ModuleType):  # a package that can be called: what a call of it is
            found = getattr(found, name)
        module = getattr(found, "__module__", None)
        if module is not None and not isinstance(found, str):
            yield f"::: {module}.{found.__qualname__}\n"


def _power(exponent: Any) -> str:
    """`s` to a power, or to one for each entry of a tuple; none where the law has no constant one."""
    if isinstance(exponent, tuple):
        return f"({', '.join(map(_power, exponent))})"
    return {0: "1", 1: "s", None: "–"}.get(exponent, f"s<sup>{exponent}</sup>")


def _cell(text: str) -> str:
    text = re.sub(r"([*_<>\\\[\]])", r"\\\1", text).replace("|", "&#124;")
    text = re.sub(r"https?://\S+?(?=[;,)]?(?:\s|$))", lambda m: f"<{m[0]}>".replace("\\", ""), text)
    return " ".join(text.split())


def _anchor(name: str) -> str:
    return re.sub(r"[^\w-]+", "-", name).strip("-").lower()


def _texts(files: Files) -> Iterator[str]:
    yield from (f"docs/{file.src_uri}" for file in files.documentation_pages() if file.generated_by is None)
    yield from (path for path in ELSEWHERE if path.endswith(".md"))


def _targets(document: str) -> Iterator[str]:
    """What code outside docs/ a document of the repository links to."""
    for link, _ in _LINK.findall((ROOT / document).read_text(encoding="utf-8")):
        path = posixpath.normpath(posixpath.join(posixpath.dirname(document), link))
        if not path.startswith("docs/") and Path(path).suffix in {*ENDINGS, ".json"}:
            yield path


def _in_repository(link: str, page: str) -> str:
    """Where a link of a page leads, from the root of the repository."""
    outside = page in ELSEWHERE
    document = page if outside else f"docs/{page}"
    return posixpath.normpath(posixpath.join(posixpath.dirname(document), link))
