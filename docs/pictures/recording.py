"""A recording of a terminal as an SVG: commands are typed, their output follows, and the window scrolls.

The animation is CSS, so that it also plays where scripts do not run, as in a README. Who prefers reduced motion sees the end.
"""

from html import escape

COLUMNS, ROWS = 130, 31
CHARACTER, LINE, MARGIN, BAR = 7.23, 18, 16, 34
TYPING, OUTPUT, READING = 0.035, 0.04, 4.0  # seconds: per character, per line, and after the output of a command
COLORS = {"ok": "#7ee2a8", "skipped": "#9aa3b8", "warning": "#f3c56d", "FAILURE": "#ffaba5"}


def wrapped(line):
    """The rows that a terminal shows for a line."""
    return [line[start:start + COLUMNS] for start in range(0, len(line), COLUMNS)] or [""]


def colored(row):
    """A row, with the first word in its color if it is a status."""
    word = row.split(" ", 1)[0]
    if word in COLORS:
        return f'<tspan fill="{COLORS[word]}">{word}</tspan>{escape(row[len(word):])}'
    return escape(row)


def rows_of(parts):
    """All rows with the second at which each appears, and the length of the recording."""
    rows, now = [], 0.5
    for number, (command, lines) in enumerate(parts):
        if number:
            rows.extend([(now, ""), (now, '<tspan fill="#9aa3b8">in another terminal:</tspan>')])
        for row in wrapped("$ " + command):
            rows.append((now, f'<tspan fill="#a9b5ff" font-weight="bold">{escape(row)}</tspan>'))
            now += TYPING * len(row)
        for line in lines:
            for row in wrapped(line):
                rows.append((now, colored(row)))
                now += OUTPUT
        now += READING
    return rows, now + READING


def record(parts):
    """The SVG for commands and the lines of their output."""
    rows, length = rows_of(parts)
    width, height = round(COLUMNS * CHARACTER + 2 * MARGIN), BAR + ROWS * LINE + MARGIN
    texts, scrolls = [], ["0% { transform: none }"]
    for number, (start, row) in enumerate(rows):
        if row:
            y = BAR + LINE * number + 14
            texts.append(f'<text x="{MARGIN}" y="{y}" style="animation-delay:{start:.2f}s" xml:space="preserve">{row}</text>')
        if number >= ROWS:
            percent = 100 * start / length
            scrolls.append(f"{percent:.2f}% {{ transform: translateY({-LINE * (number - ROWS + 1)}px) }}")
    end = -LINE * max(0, len(rows) - ROWS)
    scrolls.append(f"100% {{ transform: translateY({end}px) }}")
    title = "; then ".join(command for command, _ in parts)
    nl = "\n"
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">
<title>A terminal: {escape(title)}</title>
<style>
text {{ font: 12px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: #e9ebf2; opacity: 0; animation: show 0.01s linear forwards }}
#rows {{ animation: scroll {length:.2f}s step-end forwards }}
@keyframes show {{ to {{ opacity: 1 }} }}
@keyframes scroll {{ {" ".join(scrolls)} }}
@media (prefers-reduced-motion: reduce) {{
  text {{ animation: none; opacity: 1 }}
  #rows {{ animation: none; transform: translateY({end}px) }}
}}
</style>
<clipPath id="window"><rect y="{BAR - 4}" width="{width}" height="{height - BAR}"/></clipPath>
<rect width="{width}" height="{height}" rx="10" fill="#12141b"/>
<circle cx="18" cy="15" r="5" fill="#565d70"/><circle cx="36" cy="15" r="5" fill="#565d70"/><circle cx="54" cy="15" r="5" fill="#565d70"/>
<g clip-path="url(#window)"><g id="rows">
{nl.join(texts)}
</g></g>
</svg>
"""
