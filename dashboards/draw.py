"""Draws each dashboard as it would look, from the results of its queries on a Prometheus: pictures/*.png.

    draw.py http://127.0.0.1:9090 --minutes 5 [--into pictures]

These are not Grafana's pictures: matplotlib draws what the queries return, in the places that the dashboard says. Needs
matplotlib.
"""

import argparse
import copy
import io
import pathlib
import re
import time

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as pyplot
from matplotlib.patches import FancyBboxPatch
from PIL import Image

import marks
import query

# One column and one line of Grafana's grid, in inches, and the space between panels.
COLUMN, LINE, GAP = 0.62, 0.40, 0.06
HEAD = 0.75
DOTS = 100
LARGEST = 300_000
INK, PALE, PAPER, PANEL = "#1f2430", "#6b7280", "#f4f5f7", "#ffffff"


def draw(board, prometheus, minutes, into):
    """One picture of one dashboard; returns its file."""
    end = time.time()
    values = query.all_values(board)
    panels = spread(board, prometheus, values)
    lines = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
    width, height = 24 * COLUMN + 2 * GAP, lines * LINE + HEAD + 2 * GAP
    figure = pyplot.figure(figsize=(width, height), facecolor=PAPER)
    figure.text(0.01, 1 - 0.26 / height, board["title"], size=17, weight="bold", color=INK, va="center")
    moment = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(end))
    said = f"{board['description']}  ·  {minutes:g} minutes until {moment}, drawn by dashboards/draw.py, not by Grafana"
    figure.text(0.01, 1 - 0.58 / height, said, size=9, color=PALE, va="center")
    for panel in panels:
        place = panel["gridPos"]
        box = (
            (place["x"] * COLUMN + 2 * GAP) / width,
            1 - (HEAD + (place["y"] + place["h"]) * LINE) / height,
            (place["w"] * COLUMN - GAP) / width,
            (place["h"] * LINE - GAP) / height,
        )
        if panel["type"] == "row":
            figure.text(box[0], box[1] + box[3] / 2, panel["title"], size=11, weight="bold", color=INK, va="center")
            continue
        draw_panel(figure, box, panel, Results(panel, prometheus, {**values, **panel.get("own", {})}, minutes, end))
    file = into / f"{board['uid']}.png"
    save(figure, file)
    return file


def spread(board, prometheus, values):
    """The panels, those that repeat once for each value of their variable, and what is below them further down."""
    made, down = [], 0
    for panel in copy.deepcopy(board["panels"]):
        panel["gridPos"]["y"] += down
        if "repeat" not in panel:
            made.append(panel)
            continue
        names = of_variable(board, panel["repeat"], prometheus, values) or [""]
        across = min(panel["maxPerRow"], len(names))
        for number, name in enumerate(names):
            one = copy.deepcopy(panel)
            place = one["gridPos"]
            place["w"] = 24 // across
            place["x"] = number % across * place["w"]
            place["y"] += number // across * place["h"]
            one["title"] = one["title"].replace(f"${panel['repeat']}", name)
            one["own"] = {panel["repeat"]: name}
            made.append(one)
        down += (len(names) - 1) // across * panel["gridPos"]["h"]
    return made


def of_variable(board, name, prometheus, values):
    variable = next(one for one in board["templating"]["list"] if one["name"] == name)
    series, label = re.fullmatch(r"label_values\((.*),\s*(\w+)\)", variable["query"]["query"]).groups()
    return sorted(prometheus.values(label, query.resolved(series, values, 1)))


class Results:
    """What the queries of a panel return: names, and courses or the last values."""

    def __init__(self, panel, prometheus, values, minutes, end):
        self.panel, self.prometheus, self.values, self.minutes, self.end = panel, prometheus, values, minutes, end

    def courses(self):
        """Triples of query number, name, and pairs of time and value."""
        step = max(1, round(60 * self.minutes / 240))
        for number, target in enumerate(self.panel["targets"]):
            expression = query.resolved(target["expr"], self.values, self.minutes)
            for series in self.prometheus.range(expression, self.end - 60 * self.minutes, self.end, step):
                points = [(when, float(value)) for when, value in series["values"]]
                yield number, query.legend(target, series["metric"]), points

    def now(self):
        """Triples of query number, labels, and the last value."""
        for number, target in enumerate(self.panel["targets"]):
            expression = query.resolved(target["expr"], self.values, self.minutes)
            for series in self.prometheus.instant(expression, self.end):
                yield number, series["metric"], float(series["value"][1])


def draw_panel(figure, box, panel, results):
    x, y, w, h = box
    inches = h * figure.get_figheight()
    figure.patches.append(FancyBboxPatch(
        (x, y), w, h, boxstyle="square,pad=0", transform=figure.transFigure, facecolor=PANEL, edgecolor="#dfe1e6",
        linewidth=0.6, zorder=-1,
    ))
    aside = 0.08 / figure.get_figwidth()
    middle = y + h * (1 - 0.13 / inches)
    figure.text(x + aside, middle, panel["title"], size=8.5, weight="bold", color=INK, va="center")
    if panel["type"] == "timeseries":
        unit = marks.named(marks.unit_of(panel))
        figure.text(x + w - aside, middle, unit, size=7, color=PALE, va="center", ha="right")
    inner = (x, y, w, h * (1 - 0.26 / inches))
    marks.KINDS[panel["type"]](figure, inner, panel, results)


def save(figure, file):
    """With few colours, which is what keeps it small."""
    full = io.BytesIO()
    figure.savefig(full, format="png", dpi=DOTS, facecolor=figure.get_facecolor())
    pyplot.close(figure)
    picture = Image.open(full).convert("RGB").quantize(colors=96, dither=Image.Dither.NONE)
    picture.save(file, optimize=True)
    size = file.stat().st_size
    if size > LARGEST:
        raise SystemExit(f"{file}: {size} bytes, more than {LARGEST}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("prometheus", help="its address")
    parser.add_argument("--minutes", type=float, default=5, help="how much to draw")
    parser.add_argument("--into", type=pathlib.Path, default=pathlib.Path(__file__).parent / "pictures")
    arguments = parser.parse_args()
    arguments.into.mkdir(exist_ok=True)
    prometheus = query.Prometheus(arguments.prometheus)
    for board in query.boards():
        file = draw(board, prometheus, arguments.minutes, arguments.into)
        print(f"{file}: {file.stat().st_size} bytes")


if __name__ == "__main__":
    main()
