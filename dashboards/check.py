"""Refuses dashboards that would not work, or that nobody would understand.

    check.py --metrics ../docs/metrics.md            against the documentation
    check.py --metrics http://127.0.0.1:9464/metrics  against a running weir
    check.py --metrics … FILE …                       these files, instead of json/*.json

Prints a line for each fault. Standard library only.
"""

import argparse
import json
import pathlib
import re
import sys

import known
import promql

COLUMNS = 24
SOURCES = {"weir-prometheus"}
# Units of Grafana that we use; a misspelt one would be shown as it is, behind each number.
UNITS = {"none", "s", "bytes", "Bps", "percentunit", "dtdurations"}
OWN_UNIT = re.compile(r"(count:[a-z]+(/s)?|suffix: [a-z]+|bool:[a-z ]+/[a-z ]+)$")
# What Grafana itself replaces.
BUILT_IN = {"__rate_interval", "__range", "__interval", "__url_time_range"}
DASHBOARD = re.compile(r"^/d/([\w-]+)")


def faults(boards, metrics):
    """All faults of the dashboards, which are pairs of file name and content."""
    uids = {board.get("uid") for _, board in boards}
    seen = {"uid": {}, "title": {}}
    for name, board in boards:
        for key, others in seen.items():
            value = board.get(key)
            if not value:
                yield f"{name}: no {key}"
            elif value in others:
                yield f"{name}: {key} `{value}` is that of {others[value]}"
            others[value] = name
        if name != f"{board.get('uid')}.json":
            yield f"{name}: its uid is {board.get('uid')}"
        for fault in board_faults(board, uids, metrics):
            yield f"{name}: {fault}"


def board_faults(board, uids, metrics):
    if not board.get("description"):
        yield "no description"
    for link in board.get("links", []):
        yield from link_faults(link, uids)
    variables = {variable["name"]: variable for variable in board["templating"]["list"]}
    used = set()
    for variable in variables.values():
        query = variable["query"]["query"]
        used |= promql.variables(query)
        for fault in query_faults(query_series(query), metrics):
            yield f"variable {variable['name']}: {fault}"
    yield from id_faults(board["panels"])
    yield from place_faults(board["panels"])
    for panel in board["panels"]:
        if panel["type"] == "row":
            if not panel.get("title"):
                yield f"row {panel['id']}: no title"
            continue
        used |= promql.variables(json.dumps(panel))
        for fault in panel_faults(panel, uids, metrics):
            yield f"panel {panel['id']} `{panel.get('title', '')}`: {fault}"
    for name in sorted(used - variables.keys() - BUILT_IN):
        yield f"variable ${name} is not there"
    for name in sorted(variables.keys() - used):
        yield f"variable ${name} is not used"


def query_series(query):
    """The series of `label_values(series, label)`, as an expression."""
    match = re.fullmatch(r"label_values\((.*),\s*(\w+)\)", query)
    return f"sum by ({match.group(2)}) ({match.group(1)})" if match else query


def panel_faults(panel, uids, metrics):
    for key in ("title", "description"):
        if not panel.get(key, "").strip():
            yield f"no {key}"
    defaults = panel.get("fieldConfig", {}).get("defaults", {})
    overrides = panel.get("fieldConfig", {}).get("overrides", [])
    units = [p["value"] for override in overrides for p in override["properties"] if p["id"] == "unit"]
    for unit in [defaults.get("unit"), *units]:
        if not unit:
            yield "no unit"
        elif unit not in UNITS and not OWN_UNIT.match(unit):
            yield f"unit `{unit}` is not one of ours"
    yield from threshold_faults(defaults.get("thresholds", {}).get("steps", []))
    for link in panel.get("links", []):
        yield from link_faults(link, uids)
    if not panel.get("targets"):
        yield "no query"
    if len({target["refId"] for target in panel["targets"]}) < len(panel["targets"]):
        yield "two queries have one refId"
    for target in panel["targets"]:
        if target.get("datasource", {}).get("uid") not in SOURCES:
            yield f"query {target['refId']}: unknown source"
        if not target.get("legendFormat"):
            yield f"query {target['refId']}: no legend"
        for fault in query_faults(target.get("expr", ""), metrics):
            yield f"query {target['refId']}: {fault}"


def threshold_faults(steps):
    values = [step["value"] for step in steps]
    if values and values[0] is not None:
        yield "the first threshold has a value"
    if values[1:] != sorted(values[1:]):
        yield "thresholds are not in order"


def link_faults(link, uids):
    """Of a link: it must go to one of our dashboards."""
    match = DASHBOARD.match(link.get("url", ""))
    if not match:
        yield f"link `{link.get('title')}` goes to no dashboard: {link.get('url')}"
    elif match.group(1) not in uids:
        yield f"link `{link.get('title')}`: there is no dashboard {match.group(1)}"


def query_faults(expression, metrics):
    if not expression.strip():
        yield "empty"
    named = promql.metrics(expression)
    for name in sorted(named - metrics.series):
        yield f"unknown metric {name}"
    for name in sorted(promql.labels(expression) - metrics.labels):
        yield f"unknown label {name}"


def id_faults(panels):
    ids = {}
    for panel in panels:
        if panel["id"] in ids:
            yield f"panels `{ids[panel['id']]}` and `{panel.get('title')}` have the id {panel['id']}"
        ids[panel["id"]] = panel.get("title")


def place_faults(panels):
    taken = {}
    for panel in panels:
        place, title = panel["gridPos"], f"{panel['id']} `{panel.get('title')}`"
        if place["x"] < 0 or place["y"] < 0 or place["w"] < 1 or place["h"] < 1 or place["x"] + place["w"] > COLUMNS:
            yield f"panel {title} is outside the grid"
        covered = set()
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                other = taken.setdefault((x, y), title)
                if other != title:
                    covered.add(other)
        for other in sorted(covered):
            yield f"panel {title} covers panel {other}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--metrics", required=True, help="docs/metrics.md, or the address of /metrics")
    parser.add_argument("files", nargs="*", type=pathlib.Path)
    arguments = parser.parse_args()
    files = arguments.files or sorted((pathlib.Path(__file__).parent / "json").glob("*.json"))
    boards = [(file.name, json.loads(file.read_text(encoding="utf-8"))) for file in files]
    metrics = known.read(arguments.metrics)
    found = list(faults(boards, metrics))
    print("\n".join(found))
    panels = sum(panel["type"] != "row" for _, board in boards for panel in board["panels"])
    print(f"{len(boards)} dashboards, {panels} panels, {len(metrics.series)} known series: {len(found)} faults")
    return 1 if found or not boards else 0


if __name__ == "__main__":
    sys.exit(main())
