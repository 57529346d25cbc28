"""Which series there are: from docs/metrics.md, or from /metrics of a running weir."""

import pathlib
import re
import urllib.request
from dataclasses import dataclass

# What Prometheus adds to each target, and its configuration to each series.
OF_PROMETHEUS = {"up", "scrape_duration_seconds", "scrape_samples_scraped"}
LABELS_OF_PROMETHEUS = {"job", "instance", "stage", "le"}
PATIENCE = 10


@dataclass
class Metrics:
    """Names of series, those of histograms with their endings; and labels."""

    series: set
    labels: set


def read(place):
    """From a file, or an address that begins with http."""
    if place.startswith("http"):
        with urllib.request.urlopen(place, timeout=PATIENCE) as answer:
            return from_exposition(answer.read().decode())
    return from_document(pathlib.Path(place).read_text(encoding="utf-8"))


def from_document(text):
    """Tables with the columns name, type, unit, labels, meaning; names and labels in backticks."""
    metrics = Metrics(set(OF_PROMETHEUS), set(LABELS_OF_PROMETHEUS))
    for line in text.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) < 4 or not re.fullmatch(r"`\w+`", cells[0]):
            continue
        add(metrics, cells[0].strip("`"), cells[1])
        # `label`, or `label`: `value`, `value`; … A label is what stands first, or behind a semicolon or line break.
        for part in re.split(r";|<br>", cells[3]):
            if label := re.match(r"\s*`(\w+)", part):
                metrics.labels.add(label.group(1))
    return metrics


def from_exposition(text):
    """The text format: types, and labels of the samples."""
    metrics = Metrics(set(OF_PROMETHEUS), set(LABELS_OF_PROMETHEUS))
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            add(metrics, name, kind)
        elif not line.startswith("#"):
            metrics.labels.update(re.findall(r'[{,](\w+)="', line))
    return metrics


def add(metrics, name, kind):
    if kind == "histogram":
        metrics.series.update(name + ending for ending in ("_bucket", "_sum", "_count"))
    else:
        metrics.series.add(name)
