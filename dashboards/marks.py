"""How draw.py draws each kind of panel. Each function gets the figure, its box in it, the panel and its results."""

import math
import time

from matplotlib.ticker import FuncFormatter, MaxNLocator

import query

INK, PALE, GRID = "#1f2430", "#6b7280", "#e5e7eb"
# Distinguishable without telling red from green.
CURVES = ["#1f77b4", "#e07b00", "#2a9d8f", "#9b5de5", "#c1121f", "#6c757d", "#00a6d6", "#8d6e63", "#d81b60", "#7cb342"]
COLOURS = {"green": "#1a7f37", "yellow": "#c99700", "orange": "#d9730d", "red": "#c1121f", "blue": "#1f77b4"}
# Rows of a table, and lines of a legend, that a picture has room for.
ROWS, LINES = 16, 2
# Of a table, in inches.
TABLE_LINE = 0.18


def stat(figure, box, panel, results):
    """Large numbers side by side, with their courses behind them."""
    courses = list(results.courses())
    if not courses:
        return nothing(figure, box)
    x, y, w, h = box
    for number, (_, name, points) in enumerate(courses[:4]):
        part = w / min(len(courses), 4)
        axes = figure.add_axes((x + number * part, y, part, h))
        value = last(points)
        colour = colour_of(panel, value)
        axes.plot(*zip(*finite(points)), color=colour, linewidth=0.8, alpha=0.5)
        axes.fill_between(*zip(*finite(points)), color=colour, alpha=0.12)
        low, high = axes.get_ylim()
        # The curve keeps to the lower third.
        axes.set_ylim(min(low, 0), max(high, 1e-12) * 3)
        axes.axis("off")
        size = 17 if len(courses) == 1 else 12
        middle = 0.62 if len(courses) == 1 else 0.55
        axes.text(0.5, middle, formatted(value, unit_of(panel)), transform=axes.transAxes, size=size, weight="bold",
                  color=colour, ha="center", va="center")
        if len(courses) > 1:
            axes.text(0.5, 0.86, name, transform=axes.transAxes, size=7.5, color=PALE, ha="center", va="center")
    return None


def timeseries(figure, box, panel, results):
    """Courses, limits and a legend."""
    courses = [(name, finite(points)) for _, name, points in results.courses()]
    courses = [(name, points) for name, points in courses if points]
    axes = framed(figure, box, panel, legend=bool(courses))
    axes.set_xlim(results.end - 60 * results.minutes, results.end)
    if not courses:
        axes.text(0.5, 0.5, "no data", transform=axes.transAxes, size=9, color=PALE, ha="center", va="center")
        return
    stacked = panel["fieldConfig"]["defaults"]["custom"]["stacking"]["mode"] == "normal"
    if stacked and len({tuple(when for when, _ in points) for _, points in courses}) == 1:
        times = [when for when, _ in courses[0][1]]
        axes.stackplot(times, *[[value for _, value in points] for _, points in courses],
                       labels=[name for name, _ in courses], colors=CURVES, alpha=0.6)
    else:
        for number, (name, points) in enumerate(courses):
            axes.plot(*zip(*points), label=name, color=CURVES[number % len(CURVES)], linewidth=1.1)
    if panel["fieldConfig"]["defaults"].get("min") == 0:
        top = max(value for _, points in courses for _, value in points)
        axes.set_ylim(0, axes.get_ylim()[1] if top > 0 else 1)
    limits(axes, panel)
    legend(axes, box[2] * figure.get_figwidth())


def legend(axes, inches):
    """Below the times, in two lines at most."""
    handles, names = axes.get_legend_handles_labels()
    longest = max(len(name) for name in names)
    columns = max(1, min(4, int(inches / (0.3 + 0.055 * longest))))
    shown = min(len(names), LINES * columns)
    if shown < len(names):
        names = [*names[:shown - 1], f"and {len(names) - shown + 1} more"]
    axes.legend(handles[:shown], names, loc="upper center", bbox_to_anchor=(0.45, -0.13), ncols=columns, fontsize=6.3,
                frameon=False, labelcolor=PALE, handlelength=1.2, columnspacing=1.0)


def limits(axes, panel):
    """Lines where a limit is in sight."""
    low, high = axes.get_ylim()
    for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]:
        if step["value"] is not None and low < step["value"] <= high:
            axes.axhline(step["value"], color=COLOURS[step["color"]], linewidth=0.8, linestyle=(0, (4, 3)))


def bargauge(figure, box, panel, results):
    """A bar for each series."""
    targets = panel["targets"]
    found = [(query.legend(targets[number], labels), value) for number, labels, value in results.now()]
    found = sorted((pair for pair in found if math.isfinite(pair[1])), key=lambda pair: pair[1])
    if not found:
        return nothing(figure, box)
    x, y, w, h = box
    axes = figure.add_axes((x + 0.34 * w, y + 0.06 * h, 0.44 * w, 0.88 * h))
    for number, (_, value) in enumerate(found):
        axes.barh(number, value, color=colour_of(panel, value), height=0.62, alpha=0.85)
        axes.text(value, number, " " + formatted(value, unit_of(panel)), size=7.5, color=INK, va="center")
    axes.set_yticks(range(len(found)), [name for name, _ in found], size=7, color=INK)
    # A single bar is no wall.
    axes.set_ylim(min(-0.6, len(found) - 4.4), len(found) - 0.4)
    axes.set_xticks([])
    axes.set_xlim(0, max(max(value for _, value in found), 1e-12) * 1.05)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return None


def table(figure, box, panel, results):
    """A line for each combination of labels."""
    hidden = panel["transformations"][1]["options"]["excludeByName"]
    headings = [target["legendFormat"] for target in panel["targets"]]
    lines, labels_seen = {}, []
    for number, labels, value in results.now():
        shown = {key: text for key, text in labels.items() if key not in hidden}
        labels_seen += [key for key in shown if key not in labels_seen]
        lines.setdefault(tuple(sorted(shown.items())), {})[number] = value
    if not lines:
        return nothing(figure, box)
    labels_seen.sort()
    units = {one["matcher"]["options"]: one["properties"][0]["value"] for one in panel["fieldConfig"]["overrides"]}
    cells = []
    for key, values in sorted(lines.items())[:ROWS]:
        texts = [dict(key).get(label, "") for label in labels_seen]
        for number, heading in enumerate(headings):
            unit = units.get(heading, unit_of(panel))
            texts.append(formatted(values[number], unit) if number in values else "")
        cells.append(texts)
    x, y, w, h = box
    axes = figure.add_axes((x + 0.01 * w, y + 0.03 * h, 0.98 * w, 0.94 * h))
    axes.axis("off")
    if len(lines) > ROWS:
        axes.text(0, 0, f"and {len(lines) - ROWS} more", size=7, color=PALE)
    columns = list(zip([*labels_seen, *headings], *cells))
    widths = [2 + max(len(text) for text in column) for column in columns]
    tall = min(1.0, TABLE_LINE * (1 + len(cells)) / (h * figure.get_figheight()))
    drawn = axes.table(cells, colLabels=[column[0] for column in columns], cellLoc="left", colLoc="left",
                       colWidths=[width / sum(widths) for width in widths], edges="horizontal",
                       bbox=(0, 1 - tall, 1, tall))
    drawn.auto_set_font_size(False)
    drawn.set_fontsize(7.5)
    for (row, _), cell in drawn.get_celld().items():
        cell.set_edgecolor(GRID)
        cell.get_text().set_color(PALE if row == 0 else INK)
    return None


def state_timeline(figure, box, panel, results):
    """A bar for each series, coloured by its state."""
    mapped = panel["fieldConfig"]["defaults"]["mappings"][0]["options"]
    courses = list(results.courses())
    if not courses:
        return nothing(figure, box)
    axes = framed(figure, box, panel, legend=False, left=0.16)
    for number, (_, _, points) in enumerate(courses):
        for (when, value), (until, _) in zip(points, points[1:] + [(results.end, 0)]):
            state = mapped.get(str(int(value)), {"color": "yellow"})
            axes.broken_barh([(when, until - when)], (number - 0.35, 0.7), facecolor=COLOURS[state["color"]], alpha=0.8)
    axes.set_yticks(range(len(courses)), [name for _, name, _ in courses], size=7, color=INK)
    axes.set_xlim(results.end - 60 * results.minutes, results.end)
    axes.grid(False)
    patches = [axes.plot([], [], color=COLOURS[one["color"]], linewidth=6, label=one["text"])[0] for one in mapped.values()]
    axes.legend(handles=patches, loc="upper right", bbox_to_anchor=(1, 1.14), ncols=len(patches), fontsize=7, frameon=False)
    return None


def heatmap(figure, box, panel, results):
    """Bucket by bucket, darker where more is in it."""
    courses = sorted(results.courses(), key=lambda course: float(course[1]))
    if not courses:
        return nothing(figure, box)
    axes = framed(figure, box, panel, legend=False)
    axes.grid(False)
    times = sorted({when for _, _, points in courses for when, _ in points})
    below, grid = [0.0] * len(times), []
    for _, _, points in courses:
        values = dict(points)
        # Buckets are cumulative.
        here = [values.get(when, 0.0) for when in times]
        grid.append([max(high - low, 0.0) for high, low in zip(here, below)])
        below = here
    axes.pcolormesh(times, range(len(courses)), grid, cmap="Blues", shading="nearest")
    every = max(1, len(courses) // 7)
    marked = range(0, len(courses), every)
    unit = panel["options"]["yAxis"]["unit"]
    names = [course[1] for course in courses]
    axes.yaxis.set_major_locator(MaxNLocator(1))
    axes.set_yticks(list(marked), [names[n] if names[n] == "+Inf" else formatted(float(names[n]), unit) for n in marked])
    axes.set_xlim(results.end - 60 * results.minutes, results.end)
    return None


KINDS = {
    "stat": stat,
    "timeseries": timeseries,
    "bargauge": bargauge,
    "table": table,
    "state-timeline": state_timeline,
    "heatmap": heatmap,
}


def framed(figure, box, panel, legend, left=None):
    """Axes with times below and units on the left, and room for a legend."""
    x, y, w, h = box
    inches, across = h * figure.get_figheight(), w * figure.get_figwidth()
    under = (0.62 if legend else 0.28) / inches
    aside = left if left is not None else 0.62 / across
    axes = figure.add_axes((x + aside * w, y + under * h, w * (0.98 - aside), h * (0.97 - under)))
    axes.tick_params(labelsize=6.5, labelcolor=PALE, length=0)
    axes.patch.set_alpha(0)
    axes.grid(axis="y", color=GRID, linewidth=0.6)
    axes.spines[:].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(4 if across > 3 else 2))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda when, _: time.strftime("%H:%M:%S", time.gmtime(when))))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value, unit_of(panel))))
    return axes


def nothing(figure, box):
    x, y, w, h = box
    figure.text(x + w / 2, y + h / 2, "no data", size=9, color=PALE, ha="center", va="center")


def unit_of(panel):
    return panel["fieldConfig"]["defaults"]["unit"]


def finite(points):
    return [(when, value) for when, value in points if math.isfinite(value)]


def last(points):
    found = finite(points)
    return found[-1][1] if found else math.nan


def colour_of(panel, value):
    """By the thresholds."""
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    passed = [step for step in steps if step["value"] is None or value >= step["value"]]
    return COLOURS[passed[-1]["color"]]


def formatted(value, unit):
    """As Grafana would, nearly."""
    if not math.isfinite(value):
        return "–"
    kind, _, text = unit.partition(":")
    if kind == "bool":
        yes, no = text.split("/")
        return yes if value else no
    if kind == "suffix":
        return f"{value:.4g}{text}"
    if kind == "count":
        return f"{scaled(value, 1000, ['', ' K', ' M', ' B'])} {text}"
    if unit == "percentunit":
        return f"{100 * value:.3g} %"
    if unit in ("bytes", "Bps"):
        base = scaled(value, 1024, [" B", " KiB", " MiB", " GiB"])
        return base + "/s" if unit == "Bps" else base
    if unit in ("s", "dtdurations"):
        return duration(value)
    return f"{value:.5g}" if abs(value) < 1e5 else f"{value:,.0f}"


def short(value, unit):
    """Without what draw.py writes beside the title."""
    return formatted(value, unit).removesuffix(named(unit)).rstrip()


def named(unit):
    """The words of a unit that has some."""
    kind, _, text = unit.partition(":")
    return text.strip() if kind in ("count", "suffix") else ""


def scaled(value, base, names):
    power = 0
    while abs(value) >= base and power + 1 < len(names):
        value, power = value / base, power + 1
    return f"{value:.3g}{names[power]}"


def duration(seconds):
    if seconds == 0:
        return "0 s"
    for size, name in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"), (1e-3, "ms")):
        if abs(seconds) >= size:
            return f"{seconds / size:.3g} {name}"
    return f"{seconds * 1e6:.3g} µs"
