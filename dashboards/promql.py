"""Which metrics, labels and variables an expression names. It is no parser: Prometheus itself judges the rest."""

import re

# Words that are neither metrics nor functions.
WORDS = {
    "by", "without", "on", "ignoring", "group_left", "group_right", "bool", "offset", "and", "or", "unless", "inf", "nan",
    "sum", "min", "max", "avg", "count", "topk", "bottomk", "quantile", "stddev", "count_values", "group",
}
NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
VARIABLE = re.compile(r"\$\{?([a-zA-Z_]\w*)")
STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
MATCHERS = re.compile(r"\{([^}]*)\}")
# Each label of a matcher stands before `=`, `!=`, `=~` or `!~`.
MATCHER = re.compile(r"([a-zA-Z_]\w*)\s*(?:=~|!~|!=|=)")
GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
RANGE = re.compile(r"\[[^\]]*\]")
NUMBER = re.compile(r"\b\d[\d.]*(?:[eE][+-]?\d+|[a-z]+)?\b")


def metrics(expression):
    """Names of series."""
    bare = MATCHERS.sub("", STRING.sub("", expression))
    bare = NUMBER.sub("", RANGE.sub("", GROUPING.sub("", bare)))
    found = set()
    for word in NAME.finditer(bare):
        # What stands before a parenthesis is a function.
        if word.group() not in WORDS and not bare[word.end():].lstrip().startswith("("):
            found.add(word.group())
    return found


def labels(expression):
    """Labels of matchers and groupings."""
    # Values may hold braces, as those of a regular expression.
    bare = STRING.sub('""', expression)
    found = set()
    for inside in MATCHERS.findall(bare):
        found.update(MATCHER.findall(inside))
    for inside in GROUPING.findall(bare):
        found.update(name.strip() for name in inside.split(",") if name.strip())
    return found


def variables(text):
    """Grafana's variables, as `$name` or `${name}` or `${name:format}`."""
    return set(VARIABLE.findall(text))
