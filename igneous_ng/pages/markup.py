"""HTML as text, with everything escaped that is not markup already."""

from __future__ import annotations

import base64
import html
from typing import Any

import numpy as np
import numpy.typing as npt

_QUALITY = 80
_EMPTY = ("meta", "image", "rect", "line", "path", "img")


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def tag(name: str, /, *inside: object, **attributes: object) -> Markup:
    """An element; what is inside is escaped unless it is markup. ``class_`` is class, underscores become hyphens."""
    given = "".join(f' {_name(key)}="{_escaped(value)}"' for key, value in attributes.items())
    if name in _EMPTY and not inside:
        return Markup(f"<{name}{given}{'/' if name not in ('meta', 'img') else ''}>")
    return Markup(f"<{name}{given}>{''.join(map(text, inside))}</{name}>")


def _name(key: str) -> str:
    return "viewBox" if key == "view_box" else key.rstrip("_").replace("_", "-")


def _words(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def text(value: object) -> str:
    """``value`` as it stands in HTML: markup as it is, all else escaped."""
    return value if isinstance(value, Markup) else _escaped(value)


def _escaped(value: object) -> str:
    """Characters that HTML does not allow are shown as such."""
    shown = _words(value)
    if not shown.isprintable():
        shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in shown)
    return html.escape(shown)


def picture(rows: npt.NDArray[Any]) -> str:
    """Pixels ``[y, x]``, or ``[y, x, 3]`` in colours, uint8, as the address of a JPEG that holds them itself."""
    import imagecodecs

    data = imagecodecs.jpeg8_encode(np.ascontiguousarray(rows), level=_QUALITY, subsampling="444")
    return "data:image/jpeg;base64," + base64.b64encode(data).decode()


_STYLE = """
:root{color-scheme:light;--ok:#2b8a57;--warn:#b87400;--bad:#c8302c;--line:#d9dce1;--quiet:#646b76}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1500px;padding:1.5rem 2rem 3rem;font:15px/1.45 system-ui,sans-serif;color:#1c2026}
h1{font-size:1.5rem;margin:.2rem 0 .3rem}h2{font-size:1.1rem;margin:1.8rem 0 .5rem}
a{color:#1d5fb4}p{margin:.3rem 0}.quiet{color:var(--quiet)}
table{border-collapse:collapse;width:100%}
th{position:sticky;top:0;background:#fff;font-weight:600;color:var(--quiet);font-size:.85rem}
th,td{text-align:left;padding:.35rem .7rem;border-bottom:1px solid var(--line);vertical-align:middle}
.n{text-align:right;font-variant-numeric:tabular-nums}td.said{max-width:46rem;overflow-wrap:anywhere}
td.name{overflow-wrap:anywhere;max-width:18rem;font-family:ui-monospace,monospace;font-size:.85rem}
.badge{display:inline-block;min-width:3.2rem;padding:0 .5rem;border-radius:.6rem;color:#fff;text-align:center;
font-size:.8rem;font-weight:600}
.ok{background:var(--ok)}.warn{background:var(--warn)}.bad{background:var(--bad)}.none{color:var(--quiet)}
td img{display:block;height:72px;max-width:160px;border-radius:3px}
.key span{margin-right:1.6rem}.key i{display:inline-block;width:1.1rem;height:.8rem;margin-right:.45rem;
border:2px solid;vertical-align:-.1rem}
svg{display:block}svg.map{width:100%;max-height:86vh;background:#eceef1;border-radius:6px}
.plots{display:flex;flex-wrap:wrap;gap:2.5rem}
.courses{display:grid;grid-template-columns:repeat(auto-fill,minmax(420px,1fr));gap:1.4rem 2rem}
figure{margin:0}h3{font-size:.95rem;margin:.2rem 0 0}figure p{font-size:.82rem;margin:0 0 .3rem}
svg.course{width:100%;height:auto}.lines b{margin-right:1rem}table.narrow{width:auto}
.verdict{border-left:5px solid var(--line);padding:.5rem 1rem;margin:.9rem 0 1.2rem;background:#f7f8fa}
.verdict.ok{border-color:var(--ok)}.verdict.bad{border-color:var(--bad)}.verdict ul{margin:.4rem 0;padding-left:1.2rem}
.worst td{vertical-align:top}.worst td img{height:256px;max-width:none;margin-bottom:.4rem}
"""


def page(title: str, *inside: object) -> bytes:
    """A whole page, in UTF-8."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title),
        tag("style", Markup(_STYLE)),
    )
    whole = tag("html", head, Markup("\n"), tag("body", *inside), lang="en")
    return f"<!DOCTYPE html>\n{whole}\n".encode(errors="replace")


def badge(severity: str, count: object | None = None) -> Markup:
    """A severity, or how many findings have it; quiet where that is none."""
    if count == 0:
        return tag("span", "0", class_="none")
    return tag("span", severity if count is None else count, class_=f"badge {severity}")
