"""The page of the report: its frame, its style, and the small pieces it is made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
:root {{ --ink: #1b1e22; --soft: #5c646e; --page: #ffffff; --card: #f4f6f8; --line: #d9dee4; --warn: #8a4b00;
  --warn-page: #fff4e0; }}
@media (prefers-color-scheme: dark) {{ :root {{ --ink: #e6e9ec; --soft: #a0a8b2; --page: #15181b; --card: #1f2327;
  --line: #363c43; --warn: #ffc875; --warn-page: #33280f; }} }}
* {{ box-sizing: border-box; }}
body {{ margin: 0 auto; max-width: 60rem; padding: 2rem 1.25rem 4rem; color: var(--ink); background: var(--page);
  font: 16px/1.55 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }}
h1 {{ font-size: 1.7rem; line-height: 1.25; margin: 0 0 .25rem; }}
h2 {{ font-size: 1.15rem; margin: 2.6rem 0 .4rem; padding-top: .6rem; border-top: 1px solid var(--line); }}
p {{ margin: .4rem 0; max-width: 46rem; }}
.lead, .note {{ color: var(--soft); }}
.note {{ font-size: .9rem; }}
.numbers {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(11.5rem, 1fr)); gap: .7rem;
  margin: 1.4rem 0; }}
.number {{ background: var(--card); border-radius: .5rem; padding: .7rem .9rem; }}
.number b {{ display: block; font-size: 1.45rem; font-weight: 600; line-height: 1.25;
  font-variant-numeric: tabular-nums; }}
.number span {{ display: block; font-size: .84rem; line-height: 1.35; color: var(--soft); }}
.warning {{ background: var(--warn-page); color: var(--warn); border-radius: .5rem; padding: .6rem .9rem;
  margin: .6rem 0; max-width: none; }}
figure {{ margin: .8rem 0 .4rem; }}
figure svg {{ display: block; }}
figcaption {{ color: var(--soft); font-size: .9rem; max-width: 46rem; margin-top: .35rem; }}
.scroll {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-size: .9rem; margin: .6rem 0; font-variant-numeric: tabular-nums; }}
th, td {{ text-align: left; padding: .25rem 1.1rem .25rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; }}
th {{ color: var(--soft); font-weight: 500; }}
td.n, th.n {{ text-align: right; }}
pre {{ font-size: .8rem; line-height: 1.4; background: var(--card); border-radius: .5rem; padding: .8rem;
  white-space: pre-wrap; overflow-wrap: anywhere; }}
summary {{ cursor: pointer; margin: .5rem 0; }}
@media print {{ :root {{ --ink: #000; --soft: #444; --page: #fff; --card: #f2f2f2; --line: #bbb; --warn: #000;
  --warn-page: #eee; }} body {{ max-width: none; padding: 0; font-size: 10.5pt; }}
  figure, .number, table, p {{ break-inside: avoid; }} h2, p.note {{ break-after: avoid; }}
  h2 {{ margin-top: 1.2rem; }} figcaption {{ break-before: avoid; }}
  .numbers {{ grid-template-columns: repeat(5, 1fr); }} figure svg {{ max-height: 7.5cm; max-width: 100%; }}
  details {{ display: none; }} details.printed {{ display: block; }}
  details.printed::details-content {{ content-visibility: visible; display: block; block-size: auto; }}
  details.printed pre {{ font-size: 7pt; columns: 2; background: none; padding: 0; }}
  .scroll {{ overflow: visible; }} }}
</style>
</head>
<body>
{body}
</body>
</html>
"""


def page(title: str, parts: Iterable[str]) -> str:
    """The whole document; `parts` are HTML."""
    return _PAGE.format(title=escape(title), body="\n".join(part for part in parts if part))


def section(title: str, *parts: str) -> str:
    """A headed section; nothing if it has no content."""
    content = "\n".join(part for part in parts if part)
    return f"<section>\n<h2>{escape(title)}</h2>\n{content}\n</section>" if content else ""


def paragraph(text: str, kind: str = "") -> str:
    """One paragraph of plain text; `kind` is a class of the style sheet."""
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def figure(svg: str, caption: str) -> str:
    """A figure with its caption; `svg` is inline SVG."""
    return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"


def numbers(items: Sequence[tuple[str, str]]) -> str:
    """Headline figures: (value, what it is)."""
    cards = (f'<div class="number"><b>{escape(value)}</b><span>{escape(name)}</span></div>' for value, name in items)
    return f'<div class="numbers">{"".join(cards)}</div>'


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; numbers stand to the right."""
    body = []
    for row in rows:
        cells = (
            f'<td class="n">{cell}</td>' if isinstance(cell, int | float) else f"<td>{escape(str(cell))}</td>"
            for cell in row
        )
        body.append(f"<tr>{''.join(cells)}</tr>")
    titles = "".join(f"<th>{escape(name)}</th>" for name in head)
    return f'<div class="scroll"><table><thead><tr>{titles}</tr></thead><tbody>{"".join(body)}</tbody></table></div>'


def folded(title: str, text: str, *, is_printed: bool = False) -> str:
    """Preformatted text behind a line to click; on paper it is left out unless `is_printed`."""
    kind = ' class="printed"' if is_printed else ""
    return f"<details{kind}><summary>{escape(title)}</summary><pre>{escape(text)}</pre></details>"
