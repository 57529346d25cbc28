"""The kinds of panels. A query is an expression and the legend of its curves.

Every panel says what it shows and in what unit; check.py refuses one that does not.
"""

from boards.layout import PROMETHEUS

GREEN, YELLOW, ORANGE, RED, BLUE = "green", "yellow", "orange", "red", "blue"

# Of the processes that were chosen.
S = 'stage=~"$stage"'


def rate(metric, labels="", by=""):
    """Per second, all processes together, or by labels."""
    grouped = f"sum by ({by}) " if by else "sum"
    return f"{grouped}(rate({metric}{{{matchers(labels)}}}[$__rate_interval]))"


def total(metric, labels="", by="", how="sum"):
    """Now, all processes together, or by labels."""
    grouped = f"{how} by ({by}) " if by else how
    return f"{grouped}({metric}{{{matchers(labels)}}})"


def quantile(share, metric, labels="", by=""):
    """Of a histogram: what a share of the observations is below."""
    grouped = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, {rate(metric + '_bucket', labels, grouped)})"


def p50_p99(metric, labels=""):
    return [(quantile(0.5, metric, labels), "p50"), (quantile(0.99, metric, labels), "p99")]


def matchers(labels):
    return f"{S},{labels}" if labels else S


def stat(title, description, unit, queries, limits=None, drill=None):
    """Large numbers, with their course behind them."""
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "value",
        "graphMode": "area",
        "textMode": "value" if len(queries) == 1 else "value_and_name",
        "justifyMode": "auto",
    }
    return panel("stat", title, description, unit, queries, limits, options, drill=drill)


def curves(title, description, unit, queries, limits=None, drill=None, low=0, stack=False):
    """Courses over time. Limits are lines."""
    custom = {
        "lineWidth": 1,
        "fillOpacity": 30 if stack else 8,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"mode": "normal" if stack else "none", "group": "A"},
        "thresholdsStyle": {"mode": "dashed" if limits else "off"},
    }
    options = {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return panel("timeseries", title, description, unit, queries, limits, options, custom, drill, low)


def bars(title, description, unit, queries, limits=None):
    """One bar for each series, as it is now."""
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "orientation": "horizontal",
        "displayMode": "basic",
        "showUnfilled": True,
    }
    return panel("bargauge", title, description, unit, queries, limits, options, low=0)


def states(title, description, queries, names):
    """What state something was in, when; `names` are pairs of text and colour, from 0 on."""
    made = panel("state-timeline", title, description, "none", queries, None, {
        "mergeValues": True,
        "showValue": "auto",
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "single"},
    })
    values = {str(n): {"text": text, "color": color, "index": n} for n, (text, color) in enumerate(names)}
    made["fieldConfig"]["defaults"]["mappings"] = [{"type": "value", "options": values}]
    return made


def heat(title, description, unit, metric, labels=""):
    """How the observations of a histogram are spread, over time."""
    queries = [(rate(metric + "_bucket", labels, "le"), "{{le}}")]
    made = panel("heatmap", title, description, "none", queries, None, {
        "calculate": False,
        "color": {"mode": "scheme", "scheme": "Blues", "steps": 64},
        "yAxis": {"unit": unit, "axisPlacement": "left"},
        "cellGap": 0,
        "tooltip": {"mode": "single"},
        "legend": {"show": True},
    })
    made["fieldConfig"]["defaults"]["unit"] = unit
    made["targets"][0]["format"] = "heatmap"
    return made


def table(title, description, unit, columns, units=None):
    """One line for each combination of labels, one column for each query: pairs of expression and heading."""
    made = panel("table", title, description, unit, columns, None, {"showHeader": True, "cellHeight": "sm"})
    names = {f"Value #{target['refId']}": target["legendFormat"] for target in made["targets"]}
    for target in made["targets"]:
        target.update({"format": "table", "instant": True, "range": False})
    # A single query's column is called `Value`.
    if len(columns) == 1:
        names["Value"] = columns[0][1]
    hidden = {"Time": True, "__name__": True, "job": True, "instance": True}
    made["transformations"] = [
        {"id": "merge", "options": {}},
        {"id": "organize", "options": {"excludeByName": hidden, "renameByName": names, "indexByName": {}}},
    ]
    for heading, own in (units or {}).items():
        override = {"matcher": {"id": "byName", "options": heading}, "properties": [{"id": "unit", "value": own}]}
        made["fieldConfig"]["overrides"].append(override)
    return made


def panel(kind, title, description, unit, queries, limits, options, custom=None, drill=None, low=None):
    """What all kinds have. `limits` are pairs of value and colour: from the value on it is that colour. Below the
    first it is green, unless the first has no value. `drill` is the uid of the dashboard with more about it.
    """
    steps = [{"color": color, "value": value} for value, color in limits or []]
    if not steps or steps[0]["value"] is not None:
        steps.insert(0, {"color": GREEN, "value": None})
    defaults = {"unit": unit, "thresholds": {"mode": "absolute", "steps": steps}}
    if low is not None:
        defaults["min"] = low
    if custom is not None:
        defaults["custom"] = custom
    made = {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": PROMETHEUS,
        "targets": [target(number, expr, legend) for number, (expr, legend) in enumerate(queries)],
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
    }
    if drill:
        url = f"/d/{drill}?${{__url_time_range}}&${{stage:queryparam}}"
        made["links"] = [{"title": "More about it", "url": url, "targetBlank": False}]
    return made


def target(number, expr, legend):
    return {"refId": "ABCDEFGHIJ"[number], "datasource": PROMETHEUS, "expr": expr, "legendFormat": legend}
