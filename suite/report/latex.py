"""Text as LaTeX prints it, and the packages that it needs."""

from __future__ import annotations

import re
from collections.abc import Sequence

_POWER = re.compile(r"(\d(?:\.\d+)?)e([+-]\d+)")
_SYMBOL = re.compile(r"(?<![\w.])([Vcmnwλℓσ])_([a-z]{1,2})(?!\w)")
"""A symbol of a formula with its index, as in `1/V_k`."""


def packages(lines: Sequence[str]) -> str:
    """What the preamble of a document with these lines needs."""
    text = "\n".join(lines)
    used = [
        "booktabs",
        *(name for name in ("tabularx", "longtable") if f"{{{name}}}" in text),
        *(["array"] if "arraybackslash" in text else []),
        *(["amsmath"] if "frac" in text else []),
    ]
    engine = "" if text.isascii() else "; compile with XeLaTeX or LuaLaTeX, and a font with all its letters"
    return " ".join(rf"\usepackage{{{name}}}" for name in used) + engine


def latex_escape(text: str) -> str:
    """`text` as LaTeX prints it, with the mathematical signs that the tables use."""
    signs = {
        "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
        "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
        "·": r"$\cdot$", "×": r"$\times$", "–": "--", "−": r"$-$", "<": r"$<$", ">": r"$>$",
        "½": r"$\tfrac12$", "≠": r"$\neq$", "Σ": r"$\sum$", "∈": r"$\in$", "√": r"$\surd$",
        "²": r"$^2$", "≤": r"$\leq$", "≥": r"$\geq$", "→": r"$\rightarrow$", "∝": r"$\propto$",
        "‖": r"$\|$", "θ": r"$\theta$", "δ": r"$\delta$", "λ": r"$\lambda$", "∞": r"$\infty$",
        "“": "``", "”": "''", "ε": r"$\varepsilon$", "…": r"\ldots{}", "σ": r"$\sigma$", "γ": r"$\gamma$",
        "β": r"$\beta$", "η": r"$\eta$", "ℓ": r"$\ell$",
    }  # fmt: skip
    pieces = _SYMBOL.split(
        text.replace("\0", "").replace("--", "-\0-")
    )  # text, symbol, index, text, symbol, index, …
    return "".join(
        "".join(signs.get(sign, sign) for sign in piece)
        if kind == 0
        else rf"${signs.get(piece, piece).strip('$')}"
        if kind == 1
        else rf"_{{{piece}}}$"
        for kind, piece in zip((0, 1, 2) * len(pieces), pieces, strict=False)
    ).replace("\0", "{}")


def breaking(latex: str) -> str:
    """A cell that may be broken inside of a name, a call or a product too."""
    return re.sub(r"(\\_|(?<=\w)=|\(|,|:|/|\$\\cdot\$)(?=\S)", r"\1\\allowbreak{}", latex)


def latex_cell(text: str) -> str:
    """`text`, powers of ten as such."""
    pieces = _POWER.split(text)  # text, mantissa, exponent, text, mantissa, …
    return "".join(
        latex_escape(piece) if kind == 0 else rf"${piece}" if kind == 1 else rf"\times10^{{{int(piece)}}}$"
        for kind, piece in zip((0, 1, 2) * len(pieces), pieces, strict=False)
    )
