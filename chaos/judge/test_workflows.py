"""Plants each kind of fault in the effects of a small true round, and asserts that the judge reports exactly that.

    python -m unittest test_workflows    (in this folder; needs only duckdb)
"""

import json
import sys
import unittest

sys.dont_write_bytecode = True

from round_for_tests import RULES, RoundTest

HUMID = """EXISTS (SELECT 1 FROM stored AS other WHERE other.device_id = stored.device_id AND other.boot = stored.boot
    AND other.seq = stored.seq AND other.metric = 'humidity' AND other.value < 0)"""
STEPS = [
    {"id": "hot", "when": RULES["hot"], "per": "reading", "cooldown_us": None, "hook": "ops", "hook_step": 0,
     "ordered": True, "command_step": None, "emit_step": 1},
    {"id": "cooled", "when": "metric = 'temperature' AND value < 80", "per": "reading", "cooldown_us": 4_000_000,
     "hook": "crew", "hook_step": 0, "ordered": False, "command_step": None, "emit_step": 1},
    {"id": "both", "when": f"metric = 'temperature' AND value > 30 AND {HUMID}", "per": "message", "cooldown_us": None,
     "hook": None, "hook_step": None, "ordered": False, "command_step": 0, "emit_step": 1},
]
# The runs of this round, with the reading that each was begun for. The hot temperatures are those of messages 5 and 10
# of each boot, those above 30 also of 11 and 12; START is 2026-09-21T14:13:20Z, so 4-second buckets begin at messages 4,
# 8 and 12, and the cold temperatures of a boot lie in 4 of them: 1 to 3, 4 to 7 without 5, 8 to 11 without 10, 12. The
# later hour begins a bucket as well.
TRUTH = """
    CREATE TABLE runs AS SELECT *, md5(rule || device || boot || seq) AS run FROM (
        SELECT 'hot' AS rule, device, boot, seq, metric, time FROM sent WHERE metric = 'temperature' AND seq IN (5, 10)
        UNION ALL SELECT 'cooled', device, boot, seq, metric, time FROM sent
            WHERE metric = 'temperature' AND seq IN (1, 4, 8, 12)
        UNION ALL SELECT 'both', device, boot, seq, NULL, time FROM sent
            WHERE metric = 'temperature' AND seq IN (5, 10, 11, 12));
    CREATE TABLE hooks AS SELECT row_number() OVER (ORDER BY boot, seq, rule, device) AS number, 1000 * number AS received_at,
            CASE rule WHEN 'hot' THEN 'ops' ELSE 'crew' END AS hook, rule, device, boot, seq, metric,
            strftime(make_timestamptz(time), '%Y-%m-%dT%H:%M:%S.%fZ') AS time, run || '-0' AS key, 204 AS status,
            1 AS done, 1 AS new
        FROM runs WHERE rule <> 'both';
    CREATE TABLE events AS SELECT run || '-1' AS event_id, rule AS rule_id, 'info' AS severity, '' AS message,
            device AS device_id, NULL::VARCHAR AS site, make_timestamptz(time) AS time,
            make_timestamptz(time) AS received_at, boot, seq,
            CASE WHEN metric IS NULL THEN '{"data":{"metrics":{"temperature":85.5,"humidity":-0.7}}}'
                ELSE '{"data":{"metric":"temperature","value":85.5,"unit":"Cel"}}' END AS data, 1 AS commit
        FROM runs;
    CREATE TABLE commands AS SELECT device, time AS received_at, run || '-0' AS id FROM runs WHERE rule = 'both';
"""
HOT = "rule = 'hot' AND device = 'pump-1' AND boot = 1 AND seq"
HOT_EVENT = "rule_id = 'hot' AND device_id = 'pump-1' AND boot = 1 AND seq"


class WorkflowTest(RoundTest):
    def setUp(self):
        super().setUp()
        self.sql(TRUTH)
        self.commands = True
        self.steps = STEPS

    def more(self, folder):
        terms = folder / "workflows.json"
        terms.write_text(json.dumps({"rules": self.steps}))
        self.write_table("events", folder / "events")
        for table in ("hooks", "commands"):
            self.sql(f"COPY {table} TO '{folder / table}.csv' (HEADER)")
        options = ["--workflows", str(terms), "--hooks", str(folder / "hooks.csv"), "--events", str(folder / "events")]
        return options + ["--commands", str(folder / "commands.csv")] * self.commands

    def again(self, changes, where, new=1):
        """A request that came later, with `changes`."""
        self.sql(f"""INSERT INTO hooks SELECT * REPLACE (1000 AS number, {new} AS new{changes}) FROM hooks WHERE {where}""")


class Kept(WorkflowTest):
    def test_a_true_round_is_kept_and_its_figures_are_right(self):
        report = self.kept()
        self.assertEqual({name: report[name] for name in ("firings", "requests", "events")},
                         {"firings": 60, "requests": 36, "events": 60})
        self.assertEqual([name for name, count in report.items() if count is None],
                         ["messages_witnessed", "messages_lost_by_broker"])

    def test_commands_are_judged_only_if_devices_told_of_them(self):
        self.commands = False
        self.assertIsNone(self.kept()["commands_missing"])

    def test_a_target_may_see_a_key_again(self):
        self.again("", f"{HOT} = 5", new=0)
        self.kept()

    def test_attempts_may_fail_before_one_does_not(self):
        self.sql(f"""INSERT INTO hooks SELECT * REPLACE (0 AS number, 500 AS status, 0 AS done, 0 AS new) FROM hooks
            WHERE {HOT} = 5""")
        self.kept()

    def test_a_device_may_get_a_command_again(self):
        self.sql("INSERT INTO commands SELECT * FROM commands")
        self.kept()

    def test_any_reading_of_a_bucket_may_begin_its_run(self):
        for table, rule in (("hooks", "rule"), ("events", "rule_id")):
            self.sql(f"UPDATE {table} SET seq = 2 WHERE {rule} = 'cooled' AND seq = 1")
        self.kept()

    def test_a_message_that_is_neither_acknowledged_nor_stored_fires_nothing(self):
        for table in ("ledger", "pubacks"):
            self.sql(f"DELETE FROM {table} WHERE seq = 12")
        for table in ("stored", "hooks", "events", "commands"):
            by = "received_at IN (SELECT time FROM sent WHERE seq = 12)" if table == "commands" else "seq = 12"
            self.sql(f"DELETE FROM {table} WHERE {by}")
        self.kept()

    def test_a_message_that_is_stored_and_not_acknowledged_fires(self):
        for table in ("ledger", "pubacks"):
            self.sql(f"DELETE FROM {table} WHERE device = 'pump-1' AND boot = 1 AND seq = 12")
        self.kept()
        self.sql("DELETE FROM hooks WHERE device = 'pump-1' AND boot = 1 AND seq = 12")
        self.broken(firings_missing=1)

    def test_the_order_of_a_rule_whose_steps_are_given_up_is_free(self):
        self.sql("""UPDATE hooks SET number = 1000 - number WHERE rule = 'cooled'""")
        self.kept()


class Firings(WorkflowTest):
    def test_missing(self):
        self.sql(f"DELETE FROM hooks WHERE {HOT} = 5")
        report = self.broken(firings_missing=1)
        example = report["examples"]["firings_missing"][0]
        self.assertEqual((example["rule"], example["device"]), ("hot", "pump-1"))
        self.assertTrue(example["firing"].startswith("reading 1/5/temperature/"), example)

    def test_never_answered_well(self):
        for status, done in (("500", 0), ("NULL", 1), ("429", 0)):
            with self.subTest(status):
                self.sql(f"UPDATE hooks SET status = {status}, done = {done}, new = {done} WHERE {HOT} = 5")
                self.broken(firings_missing=1)

    def test_a_bucket_that_is_missing(self):
        self.sql("DELETE FROM hooks WHERE rule = 'cooled' AND device = '0042' AND boot = 2 AND seq = 8")
        self.broken(firings_missing=1)

    def test_two_keys_for_one_reading(self):
        self.again(", 'other-0' AS key", f"{HOT} = 10")
        report = self.broken(firings_doubled=1)
        self.assertEqual(report["examples"]["firings_doubled"][0]["keys"], 2)

    def test_two_keys_for_one_bucket(self):
        self.again(", 'other-0' AS key, 2 AS seq", "rule = 'cooled' AND device = 'pump-1' AND boot = 1 AND seq = 1")
        self.broken(firings_doubled=1)

    def test_one_key_for_two_readings(self):
        self.sql(f"UPDATE hooks SET key = (SELECT key FROM hooks WHERE {HOT} = 5), new = 0 WHERE {HOT} = 10")
        self.sql(f"UPDATE events SET event_id = (SELECT event_id FROM events WHERE {HOT_EVENT} = 5) WHERE {HOT_EVENT} = 10")
        self.broken(firings_doubled=1, events_doubled=1)

    def test_invented(self):
        self.again(", 11 AS seq, 'other-0' AS key", f"{HOT} = 10")
        self.broken(firings_invented=1)

    def test_of_a_rule_that_nobody_wrote(self):
        self.again(", 'cold' AS rule, 'other-0' AS key", f"{HOT} = 10")
        self.broken(firings_invented=1)

    def test_at_the_wrong_target(self):
        self.again(", 'crew' AS hook", f"{HOT} = 10")
        self.broken(firings_invented=1)

    def test_under_the_key_of_another_step(self):
        self.again(", replace(key, '-0', '-1') AS key", f"{HOT} = 10")
        self.broken(firings_invented=1, firings_doubled=1)

    def test_a_time_that_is_another(self):
        self.sql(f"UPDATE hooks SET time = replace(time, '000122', '000123') WHERE {HOT} = 5")
        self.broken(firings_missing=1, firings_invented=1)

    def test_reordered(self):
        self.sql(f"""UPDATE hooks SET number = number + 1000 WHERE {HOT} = 5""")
        report = self.broken(firings_reordered=1)
        self.assertEqual(report["examples"]["firings_reordered"], [
            {"rule": "hot", "device": "pump-1", "boot": 1, "seq": 5, "behind": 10}])


class Events(WorkflowTest):
    def test_missing(self):
        self.sql(f"DELETE FROM events WHERE {HOT_EVENT} = 5")
        self.broken(events_missing=1)

    def test_missing_of_a_message(self):
        self.sql("DELETE FROM events WHERE rule_id = 'both' AND device_id = 'pump-1' AND boot = 1 AND seq = 11")
        # Without it nothing tells the key of the command.
        self.broken(events_missing=1, commands_missing=1)

    def test_doubled(self):
        self.sql(f"INSERT INTO events SELECT * REPLACE (2 AS commit) FROM events WHERE {HOT_EVENT} = 5")
        self.broken(events_doubled=1)

    def test_two_runs_of_one_bucket(self):
        self.sql("""INSERT INTO events SELECT * REPLACE ('other-1' AS event_id, 2 AS seq) FROM events
            WHERE rule_id = 'cooled' AND device_id = 'pump-1' AND boot = 1 AND seq = 1""")
        self.broken(events_doubled=1)

    def test_invented(self):
        self.sql(f"""INSERT INTO events SELECT * REPLACE ('other-1' AS event_id, 6 AS seq) FROM events
            WHERE {HOT_EVENT} = 5""")
        self.broken(events_invented=1)

    def test_another_metric(self):
        self.sql(f"UPDATE events SET data = replace(data, 'temperature', 'humidity') WHERE {HOT_EVENT} = 5")
        self.broken(events_missing=1, events_invented=1)

    def test_under_the_key_of_another_step(self):
        self.sql(f"UPDATE events SET event_id = replace(event_id, '-1', '-2') WHERE {HOT_EVENT} = 5")
        self.broken(events_invented=1)

    def test_of_another_run_than_was_called(self):
        self.sql(f"UPDATE events SET event_id = 'other-1' WHERE {HOT_EVENT} = 5")
        self.broken(keys_differ=1)


class Commands(WorkflowTest):
    def test_missing(self):
        self.sql("DELETE FROM commands WHERE device = 'pump-1' AND received_at = (SELECT min(received_at) FROM commands)")
        self.broken(commands_missing=1)

    def test_at_another_device(self):
        self.sql("""UPDATE commands SET device = '0042' WHERE device = 'pump-1'
            AND received_at = (SELECT min(received_at) FROM commands)""")
        self.broken(commands_missing=1)


class CannotJudge(WorkflowTest):
    def test_a_hook_that_counts_wrong(self):
        self.sql(f"UPDATE hooks SET new = 0 WHERE {HOT} = 5")
        self.refused("new keys")

    def test_a_rule_that_is_no_sql(self):
        self.steps = [{**STEPS[0], "when": "valve >> 'x'"}]
        self.refused("rule hot")

    def test_terms_that_are_none(self):
        self.steps = [{"id": "hot"}]
        self.refused("workflows.json")

    def test_inputs_that_are_missing(self):
        for name in ("hooks.csv", "commands.csv", "workflows.json"):
            with self.subTest(name):
                self.refused(name, tamper=lambda folder, name=name: (folder.parent / name).unlink())


if __name__ == "__main__":
    unittest.main()
