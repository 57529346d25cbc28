"""Runs every query of every dashboard on a Prometheus, and says which return nothing.

    query.py http://127.0.0.1:9090 --wait 120

A query returns data if some sample of the last minutes is a number. What cannot happen where this is run is listed in
MAY_BE_EMPTY with a reason; it is run as well. Standard library only.
"""

import argparse
import json
import math
import pathlib
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass

import promql

# Families of metrics that a `weir up` on its own log, without a broker before it, does not have.
MAY_BE_EMPTY = {
    "weir_bridge_": "no broker is before the door",
    "weir_fluvio_": "the streams are in the log, not on a cluster",
}
PATIENCE = 30
# As Grafana would, for a source that is scraped each second.
RATE_INTERVAL = "10s"


class Prometheus:
    """Its HTTP API."""

    def __init__(self, address):
        self.address = address.rstrip("/")

    def ask(self, path, **parameters):
        query = urllib.parse.urlencode(parameters, doseq=True)
        try:
            with urllib.request.urlopen(f"{self.address}/api/v1/{path}?{query}", timeout=PATIENCE) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            # Prometheus says what is wrong with an expression.
            raise SystemExit(f"{parameters}: {error.read().decode()}") from error

    def instant(self, expression, at):
        return self.ask("query", query=expression, time=at)["result"]

    def range(self, expression, start, end, step):
        return self.ask("query_range", query=expression, start=start, end=end, step=step)["result"]

    def values(self, label, series):
        return self.ask(f"label/{label}/values", **{"match[]": series})


@dataclass
class Query:
    """One query of a panel, or of a variable."""

    place: str
    expression: str
    instant: bool

    def returns_data(self, prometheus, minutes):
        now = time.time()
        if self.instant:
            series = prometheus.instant(self.expression, now)
        else:
            series = prometheus.range(self.expression, now - 60 * minutes, now, 2)
        return any(is_number(value) for one in series for _, value in samples(one))

    def reason(self):
        """Why it may return nothing, if so."""
        named = [name for name in promql.metrics(self.expression) if name.startswith("weir_")]
        for family, reason in MAY_BE_EMPTY.items():
            if named and all(name.startswith(family) for name in named):
                return family, reason
        return None


def samples(series):
    return series.get("values") or [series["value"]]


def is_number(value):
    return math.isfinite(float(value))


def boards(folder=pathlib.Path(__file__).parent / "json"):
    return [json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("*.json"))]


def resolved(expression, values, minutes):
    """The expression with what Grafana puts in place of variables; `values` are those of the board."""
    values = {"__rate_interval": RATE_INTERVAL, "__range": f"{round(60 * minutes)}s", **values}
    return re.sub(r"\$\{?([a-zA-Z_]\w*)\}?", lambda match: values[match.group(1)], expression)


def legend(target, labels):
    """The name of a series in its panel."""
    return re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda match: labels.get(match.group(1), ""), target["legendFormat"])


def all_values(board):
    """Each variable at `All`."""
    return {variable["name"]: variable["allValue"] for variable in board["templating"]["list"]}


def queries(board, minutes):
    """All queries of a board, those of its variables too."""
    values = all_values(board)
    for variable in board["templating"]["list"]:
        series = re.fullmatch(r"label_values\((.*),\s*(\w+)\)", variable["query"]["query"])
        by = f"count by ({series.group(2)}) ({series.group(1)})"
        yield Query(f"{board['title']}: variable {variable['name']}", resolved(by, values, minutes), True)
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            place = f"{board['title']}: {panel['title']}: {target['refId']}"
            yield Query(place, resolved(target["expr"], values, minutes), target.get("instant", False))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("prometheus", help="its address")
    parser.add_argument("--wait", type=float, default=0, help="seconds to wait for data that is not there yet")
    parser.add_argument("--least", type=float, default=0, help="seconds to go on although all data is there")
    parser.add_argument("--minutes", type=float, default=3, help="how far back to look")
    parser.add_argument("--alerts", action="store_true", help="demand that its alerts are evaluated, too")
    arguments = parser.parse_args()
    prometheus = Prometheus(arguments.prometheus)
    until_ready(prometheus, arguments.wait)
    found = boards()
    asked = [query for board in found for query in queries(board, arguments.minutes)]
    began, empty = time.monotonic(), asked
    while True:
        passed = time.monotonic() - began
        empty = [query for query in empty if not query.returns_data(prometheus, arguments.minutes)]
        missing = [query for query in empty if not query.reason()]
        if passed >= arguments.wait or (not missing and passed >= arguments.least):
            break
        time.sleep(1)
    code = report(found, asked, empty)
    return max(code, report_alerts(prometheus)) if arguments.alerts else code


def until_ready(prometheus, wait):
    """A Prometheus that has just been started refuses connections for a moment."""
    began = time.monotonic()
    while True:
        try:
            return prometheus.ask("status/runtimeinfo")
        except (urllib.error.URLError, SystemExit):
            if time.monotonic() - began > wait:
                raise
            time.sleep(0.2)


def report_alerts(prometheus):
    alerts = [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
    bad = [rule for rule in alerts if rule["health"] != "ok"]
    for rule in bad:
        print(f"alert {rule['name']}: {rule['health']} {rule.get('lastError', '')}")
    states = {}
    for rule in alerts:
        states.setdefault(rule["state"], []).append(rule["name"])
    told = "; ".join(f"{state}: {', '.join(names)}" for state, names in sorted(states.items()) if state != "inactive")
    print(f"{len(alerts)} alerts were evaluated, {len(bad)} not well ({told})")
    return 1 if bad or not alerts else 0


def report(found, asked, empty):
    panels = sum(panel["type"] != "row" for board in found for panel in board["panels"])
    without = [query for query in empty if not query.reason()]
    for query in without:
        print(f"no data: {query.place}: {query.expression}")
    for family, reason in MAY_BE_EMPTY.items():
        of_family = [query for query in asked if (query.reason() or ("",))[0] == family]
        nothing = sum(query in empty for query in of_family)
        if nothing:
            print(f"{nothing} queries of {family}* returned nothing: {reason}")
        if not of_family:
            # A list that says too much hides what breaks later.
            print(f"MAY_BE_EMPTY: nobody asks for {family}*: take it off the list")
            without.append(family)
    print(
        f"{len(asked)} queries of {panels} panels and their variables in {len(found)} dashboards: "
        f"{len(asked) - len(empty)} returned data, {len(empty)} nothing"
    )
    return 1 if without or not asked else 0


if __name__ == "__main__":
    sys.exit(main())
