"""Each fault is planted in a dashboard that has none, and must be found: python -m unittest, in this folder."""

import json
import pathlib
import tempfile
import unittest

import build
import check
import known
import promql

DOCUMENT = """
| name | type | unit | labels | meaning |
|---|---|---|---|---|
| `weir_things_total` | counter | things | `group`: `rules`, `sink/readings`; `stream` | Things |
| `weir_thing_seconds` | histogram | s | | Time |
"""


def board():
    """A dashboard without faults, of one row and two panels."""
    def panel(number, x):
        return {
            "id": number,
            "type": "timeseries",
            "title": f"Things {number}",
            "description": "How many",
            "gridPos": {"x": x, "y": 1, "w": 12, "h": 5},
            "fieldConfig": {"defaults": {"unit": "s", "thresholds": {"steps": [
                {"color": "green", "value": None}, {"color": "red", "value": 1}, {"color": "blue", "value": 2},
            ]}}, "overrides": []},
            "links": [{"title": "More", "url": "/d/weir-one?${__url_time_range}"}],
            "targets": [{
                "refId": "A",
                "datasource": {"uid": "weir-prometheus"},
                "expr": 'sum by (stream) (rate(weir_things_total{group=~"$group"}[$__rate_interval]))',
                "legendFormat": "{{stream}}",
            }],
        }

    row = {"id": 1, "type": "row", "title": "Row", "gridPos": {"x": 0, "y": 0, "w": 24, "h": 1}}
    variable = {"name": "group", "query": {"query": "label_values(weir_things_total, group)"}}
    return {
        "uid": "weir-one", "title": "One", "description": "Things", "links": [],
        "templating": {"list": [variable]}, "panels": [row, panel(2, 0), panel(3, 12)],
    }


def found(change=None, name="weir-one.json"):
    """The faults after a change of the faultless dashboard."""
    one = board()
    if change:
        change(one, one["panels"][1])
    return list(check.faults([(name, one)], known.from_document(DOCUMENT)))


class Faults(unittest.TestCase):
    def refused(self, fault, change, **more):
        faults = found(change, **more)
        self.assertEqual(len(faults), 1, faults)
        self.assertIn(fault, faults[0])

    def query(self, expression):
        def change(_, panel):
            panel["targets"][0]["expr"] = expression + ' + 0 * sum(weir_things_total{group=~"$group"})'
        return change

    def test_a_good_one_has_none(self):
        self.assertEqual(found(), [])

    def test_unknown_metrics(self):
        self.refused("unknown metric weir_thing_total", self.query("rate(weir_thing_total[1m])"))
        # A histogram has no series of its own name, a counter no buckets.
        self.refused("unknown metric weir_thing_seconds", self.query("weir_thing_seconds"))
        self.refused("unknown metric weir_things_total_bucket", self.query("weir_things_total_bucket"))
        self.assertEqual(found(self.query("rate(weir_thing_seconds_bucket[5m])")), [])

    def test_unknown_labels(self):
        self.refused("unknown label grup", self.query("sum by (grup) (weir_things_total)"))
        self.refused("unknown label device", self.query('sum(weir_things_total{device="d"})'))

    def test_panels_without_words(self):
        self.refused("no title", lambda _, panel: panel.update(title=" "))
        self.refused("no description", lambda _, panel: panel.pop("description"))
        self.refused("no unit", lambda _, panel: panel["fieldConfig"]["defaults"].pop("unit"))
        self.refused("not one of ours", lambda _, panel: panel["fieldConfig"]["defaults"].update(unit="sec"))
        self.refused("no legend", lambda _, panel: panel["targets"][0].pop("legendFormat"))
        self.refused("no query", lambda _, panel: panel.update(targets=[]))
        self.refused("empty", lambda _, panel: panel["targets"][0].update(expr=""))

    def test_places(self):
        self.refused("covers panel 2", lambda one, _: one["panels"][2]["gridPos"].update(x=11, w=13))
        self.refused("covers panel 1", lambda _, panel: panel["gridPos"].update(y=0))
        self.refused("outside the grid", lambda one, _: one["panels"][2]["gridPos"].update(w=13))

    def test_ids_and_names(self):
        self.refused("have the id 2", lambda one, _: one["panels"][2].update(id=2))
        self.refused("its uid is weir-one", None, name="other.json")
        metrics = known.from_document(DOCUMENT)
        twice = list(check.faults([("weir-one.json", board()), ("weir-one.json", board())], metrics))
        self.assertEqual(len(twice), 2, twice)

    def test_links(self):
        self.refused("there is no dashboard weir-two", lambda _, p: p["links"][0].update(url="/d/weir-two"))
        self.refused("goes to no dashboard", lambda one, _: one["links"].append({"title": "x", "url": "http://x"}))

    def test_variables(self):
        self.refused("$site is not there", self.query('sum(weir_things_total{group="$site"})'))
        self.refused("$group is not used", lambda one, _: [
            panel["targets"][0].update(expr="sum(weir_things_total)") for panel in one["panels"][1:]
        ])
        self.refused("variable group: unknown metric", lambda one, _: one["templating"]["list"][0]["query"].update(
            query="label_values(weir_nothing, group)"
        ))

    def test_thresholds(self):
        def steps(panel):
            return panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        self.refused("not in order", lambda _, panel: steps(panel)[1].update(value=3))
        self.refused("has a value", lambda _, panel: steps(panel)[0].update(value=0))


class Sources(unittest.TestCase):
    def test_expressions(self):
        expression = (
            'histogram_quantile(0.99, sum by (le, stage) (rate(a_bucket{x=~"b|c{2}",y!="z"}[5m]))) > 1e6 * b:c'
            ' or 4 * on(stage) group_left(version) d offset 10m unless topk(3, e{f="g"}[5m:1s])'
        )
        self.assertEqual(promql.metrics(expression), {"a_bucket", "b:c", "d", "e"})
        self.assertEqual(promql.labels(expression), {"le", "stage", "x", "y", "version", "f"})
        self.assertEqual(promql.variables("$a ${b} ${c:queryparam} [$__range]"), {"a", "b", "c", "__range"})

    def test_documentation_and_exposition_say_the_same(self):
        exposition = """
# HELP weir_things_total Things
# TYPE weir_things_total counter
weir_things_total{group="rules",stream="a, b=\\"c\\""} 1
# HELP weir_thing_seconds Time
# TYPE weir_thing_seconds histogram
weir_thing_seconds_bucket{le="1"} 2
weir_thing_seconds_sum 1
weir_thing_seconds_count 2
"""
        self.assertEqual(known.from_exposition(exposition), known.from_document(DOCUMENT))

    def test_the_same_sources_give_the_same_bytes(self):
        texts = build.texts()
        self.assertEqual(texts, build.texts())
        for name, text in texts.items():
            self.assertEqual(json.loads(text)["uid"] + ".json", name)

    def test_files_that_were_changed_added_or_removed_by_hand_are_told(self):
        texts = build.texts()
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            for file, text in texts.items():
                (folder / file).write_text(text, encoding="utf-8")
            self.assertEqual(list(build.differences(folder, texts)), [])
            first, second, *_ = sorted(texts)
            (folder / first).unlink()
            (folder / second).write_text("{}", encoding="utf-8")
            (folder / "other.json").write_text("{}", encoding="utf-8")
            told = sorted(build.differences(folder, texts))
            self.assertEqual(told, sorted([
                f"{first}: missing", f"{second}: not what boards/ builds", "other.json: no board builds it",
            ]))


if __name__ == "__main__":
    unittest.main()
