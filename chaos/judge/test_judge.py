"""Plants each kind of fault in a small true round, and asserts that the judge reports exactly that.

    python -m unittest test_judge        (in this folder; needs only duckdb)
"""

import sys
import unittest
from urllib.parse import unquote

sys.dont_write_bytecode = True

from round_for_tests import (
    LATER_HOUR, RoundTest, append_commit, commit_path, data_file, write_checkpoint,
)

MESSAGE = "device_id = 'pump-1' AND boot = 1 AND seq"
SENT_MESSAGE = "device = 'pump-1' AND boot = 1 AND seq"
OF_BROKERS = {"messages_witnessed", "messages_lost_by_broker"}
OF_WORKFLOWS = {
    "firings", "requests", "events", "firings_missing", "firings_doubled", "firings_invented", "firings_reordered",
    "events_missing", "events_doubled", "events_invented", "keys_differ", "commands_missing",
}


class Kept(RoundTest):
    def test_a_true_round_is_kept_and_its_figures_are_right(self):
        report = self.kept()
        self.assertEqual(
            {name: report[name] for name in ("messages_sent", "messages_acknowledged", "messages_judged",
                                             "readings_sent", "readings_stored", "readings_of_others", "alerts")},
            {"messages_sent": 72, "messages_acknowledged": 72, "messages_judged": 72, "readings_sent": 216,
             "readings_stored": 216, "readings_of_others": 0, "alerts": 18})
        self.assertEqual({name for name, count in report.items() if count is None}, OF_WORKFLOWS | OF_BROKERS)

    def test_what_was_not_asked_is_not_said(self):
        report = self.verdict("--unordered", alerts=False)
        self.assertEqual(report["verdict"], "kept")
        self.assertEqual({name for name, count in report.items() if count is None}, {
            "reordered", "alerts", "alerts_missing", "alerts_doubled", "alerts_invented", "alerts_altered"}
            | OF_WORKFLOWS | OF_BROKERS)

    def test_an_unacknowledged_message_may_be_stored_or_not(self):
        self.sql("UPDATE ledger SET acknowledged_at = NULL WHERE seq = 12")
        self.sql("DELETE FROM pubacks WHERE seq = 12")
        self.sql("DELETE FROM stored WHERE seq = 12 AND boot = 1")
        self.sql("DELETE FROM alerts WHERE seq = 12 AND boot = 1")
        report = self.kept()
        self.assertEqual((report["messages_acknowledged"], report["messages_judged"]), (66, 69))

    def test_readings_of_other_devices_are_set_aside(self):
        self.sql("INSERT INTO stored SELECT * REPLACE ('load-7' AS device_id, NULL AS seq) FROM stored WHERE seq = 1")
        self.sql("INSERT INTO alerts SELECT * REPLACE ('load-7' AS device_id) FROM alerts")
        self.assertEqual(self.kept()["readings_of_others"], 18)

    def test_messages_received_in_one_instant_have_no_order(self):
        for table in ("stored", "alerts"):
            self.sql(f"UPDATE {table} SET received_at = make_timestamptz(1790000000000000)")
        self.kept()

    def test_the_order_of_different_boots_and_devices_is_free(self):
        for table in ("stored", "alerts"):
            self.sql(f"UPDATE {table} SET commit = commit + 10 WHERE boot = 1")
            self.sql(f"UPDATE {table} SET received_at = received_at - INTERVAL 5 HOUR WHERE device_id = '0042'")
        self.kept()

    def test_a_metric_may_be_repeated_in_a_message_at_another_time(self):
        self.repeat_a_metric()
        self.kept()

    def test_several_fleets_are_judged_together(self):
        self.kept(fleets=3)


class Lost(RoundTest):
    def test_a_message(self):
        self.sql(f"DELETE FROM stored WHERE {MESSAGE} = 12")
        report = self.broken(lost=3)
        self.assertEqual(report["examples"]["lost"][0],
                         {"device": "pump-1", "boot": 1, "seq": 12, "metric": "battery", "why": "acknowledged"})

    def test_one_reading(self):
        self.sql(f"DELETE FROM stored WHERE {MESSAGE} = 7 AND metric = 'humidity'")
        self.broken(lost=1)

    def test_a_message_that_only_the_ledger_knows_as_acknowledged(self):
        self.sql(f"DELETE FROM stored WHERE {MESSAGE} = 12")
        self.broken(lost=3, pubacks=False)

    def test_a_message_that_only_the_proxy_knows_as_acknowledged(self):
        self.sql(f"UPDATE ledger SET acknowledged_at = NULL WHERE {SENT_MESSAGE} = 12")
        self.sql(f"DELETE FROM stored WHERE {MESSAGE} = 12")
        self.broken(lost=3)

    def test_a_message_that_the_ledger_does_not_name(self):
        self.sql(f"DELETE FROM ledger WHERE {SENT_MESSAGE} = 12")
        self.sql(f"DELETE FROM stored WHERE {MESSAGE} = 12")
        self.broken(lost=3)

    def test_the_rest_of_an_unacknowledged_message(self):
        self.sql(f"UPDATE ledger SET acknowledged_at = NULL WHERE {SENT_MESSAGE} = 12")
        self.sql(f"DELETE FROM pubacks WHERE {SENT_MESSAGE} = 12")
        self.sql(f"DELETE FROM stored WHERE {MESSAGE} = 12 AND metric <> 'battery'")
        self.broken(lost=2)

    def test_the_rest_of_an_unacknowledged_message_of_which_only_an_altered_metric_is_stored(self):
        self.sql(f"UPDATE ledger SET acknowledged_at = NULL WHERE {SENT_MESSAGE} = 12")
        self.sql(f"DELETE FROM pubacks WHERE {SENT_MESSAGE} = 12")
        self.sql(f"DELETE FROM stored WHERE {MESSAGE} = 12 AND metric <> 'battery'")
        self.sql(f"UPDATE stored SET metric = 'b' WHERE {MESSAGE} = 12")
        self.broken(altered=1, lost=2)

    def test_everything_from_a_table_without_files(self):
        self.sql("DELETE FROM stored")
        self.sql("DELETE FROM alerts")
        report = self.broken(lost=216)
        self.assertEqual(len(report["examples"]["lost"]), 10)

    def test_a_reading_of_a_metric_that_its_message_repeats(self):
        self.repeat_a_metric()
        self.sql(f"DELETE FROM stored WHERE {MESSAGE} = 7 AND metric = 'humidity' AND epoch_us(time) % 2 = 1")
        self.broken(lost=1)


class Duplicated(RoundTest):
    def test_a_message_in_a_later_commit(self):
        self.sql(f"INSERT INTO stored SELECT * REPLACE (3 AS commit) FROM stored WHERE {MESSAGE} = 2")
        report = self.broken(duplicated=3)
        self.assertEqual(report["examples"]["duplicated"][0]["commits"], [1, 3])

    def test_a_reading_three_times_in_one_commit(self):
        for _ in range(2):
            self.sql(f"INSERT INTO stored SELECT DISTINCT * FROM stored WHERE {MESSAGE} = 2 AND metric = 'battery'")
        self.broken(duplicated=2)

    def test_a_reading_of_a_metric_that_its_message_repeats(self):
        self.repeat_a_metric()
        self.sql(f"INSERT INTO stored SELECT * FROM stored WHERE {MESSAGE} = 7 AND metric = 'humidity'")
        self.broken(duplicated=2)


class Altered(RoundTest):
    def plant(self, change, where="metric = 'humidity'"):
        self.sql(f"UPDATE stored SET {change} WHERE {MESSAGE} = 2 AND {where}")
        return self.broken(altered=1)["examples"]["altered"][0]

    def test_time_by_a_microsecond(self):
        self.plant("time = time + INTERVAL 1 MICROSECOND")

    def test_value_by_its_last_bit(self):
        self.sql("UPDATE sent SET value = 0.3 WHERE seq = 2 AND metric = 'humidity'")
        self.sql("UPDATE stored SET value = 0.3 WHERE seq = 2 AND metric = 'humidity'")
        self.assertIn("0.30000000000000004", self.plant("value = 0.1::DOUBLE + 0.2::DOUBLE")["difference"])

    def test_the_sign_of_a_zero(self):
        # In two steps: DuckDB leaves a value alone that is equal to the new one, and takes -0.0 for equal to 0.0.
        for zero in ("1.0", "0.0"):
            self.sql(f"UPDATE stored SET value = {zero}::DOUBLE WHERE {MESSAGE} = 1 AND metric = 'humidity'")
        report = self.broken(altered=1)
        self.assertEqual(report["examples"]["altered"][0]["difference"], "value -0.0 is 0.0")

    def test_value_that_became_nan(self):
        self.plant("value = 'nan'::DOUBLE")

    def test_value_that_is_gone(self):
        self.plant("value = NULL")

    def test_value_that_is_a_text_as_well(self):
        self.plant("value_text = 'x'")

    def test_value_that_is_a_boolean_as_well(self):
        self.plant("value_bool = false")

    def test_unit(self):
        self.plant("unit = 'K'")

    def test_unit_that_is_gone(self):
        self.plant("unit = NULL")

    def test_unit_where_none_was_sent(self):
        self.plant("unit = '%'", "metric = 'battery'")

    def test_site(self):
        self.plant("site = 'hall-b'")

    def test_site_where_none_was_sent(self):
        self.sql("""UPDATE stored SET site = '' WHERE device_id = 'a,"b' AND boot = 1 AND seq = 2
            AND metric = 'battery'""")
        self.broken(altered=1)

    def test_metric(self):
        self.assertEqual(self.plant("metric = 'humidity2'"), {"device": "pump-1", "boot": 1, "seq": 2,
                                                             "metric": "humidity", "difference": "metric is humidity2"})

    def test_metric_into_one_that_the_message_has_is_a_copy_and_a_loss(self):
        self.sql(f"""UPDATE stored SET metric = 'battery', value = 80, unit = NULL
            WHERE {MESSAGE} = 2 AND metric = 'humidity'""")
        self.sql(f"UPDATE stored SET value = 80 WHERE {MESSAGE} = 2 AND metric = 'battery'")
        self.sql(f"UPDATE sent SET value = 80 WHERE {SENT_MESSAGE} = 2 AND metric = 'battery'")
        self.broken(duplicated=1, lost=1)


class Invented(RoundTest):
    def plant(self, **change):
        changes = ", ".join(f"{value} AS {column}" for column, value in change.items())
        self.sql(f"""INSERT INTO stored SELECT * REPLACE ({changes}) FROM stored
            WHERE {MESSAGE} = 12 AND metric = 'humidity'""")
        self.broken(invented=1)

    def test_a_message_never_sent(self):
        self.plant(seq=99)

    def test_a_boot_that_never_was(self):
        self.plant(boot=7)

    def test_a_metric_never_sent(self):
        self.plant(metric="'pressure'")

    def test_a_row_without_identity(self):
        self.plant(boot="NULL", seq="NULL")


class Reordered(RoundTest):
    def swap_times(self):
        for table in ("stored", "alerts"):
            self.sql(f"UPDATE {table} SET received_at = received_at + INTERVAL 1500 MILLISECOND WHERE {MESSAGE} = 2")

    def swap_commits(self):
        self.sql(f"UPDATE stored SET commit = 3 - commit WHERE {MESSAGE} IN (4, 5)")

    def test_by_the_clock_of_weir(self):
        self.swap_times()
        report = self.broken(reordered=1)
        self.assertEqual(report["examples"]["reordered"], [
            {"device": "pump-1", "boot": 1, "seq": 2, "how": "stored: behind 3 by received_at"}])

    def test_not_by_a_clock_that_jumped(self):
        self.swap_times()
        self.kept("--no-clock")

    def test_by_commit(self):
        self.swap_commits()
        report = self.broken("--no-clock", reordered=1)
        self.assertEqual(report["examples"]["reordered"][0]["how"], "stored: behind 5 by commit")

    def test_a_message_is_counted_once_though_seen_in_two_ways(self):
        self.swap_commits()
        for table in ("stored", "alerts"):
            self.sql(f"UPDATE {table} SET received_at = received_at + INTERVAL 1500 MILLISECOND WHERE {MESSAGE} = 4")
        self.broken(reordered=1)

    def test_one_late_message_is_one(self):
        self.sql(f"UPDATE stored SET commit = 3 WHERE {MESSAGE} = 1")
        self.broken(reordered=1)

    def test_one_early_message_puts_all_others_behind_it(self):
        self.sql(f"UPDATE stored SET commit = 0 WHERE {MESSAGE} = 5")
        self.broken(reordered=4)

    def test_a_message_in_parts(self):
        self.sql(f"UPDATE stored SET commit = 2 WHERE {MESSAGE} = 4 AND metric = 'humidity'")
        report = self.broken(reordered=1)
        self.assertEqual(report["examples"]["reordered"][0]["how"], "stored: in several commits")

    def test_alerts_by_commit(self):
        self.sql("UPDATE alerts SET commit = 4 - commit WHERE device_id = 'pump-1' AND boot = 1 AND rule_id = 'hot'")
        report = self.broken(reordered=1)
        self.assertTrue(report["examples"]["reordered"][0]["how"].startswith("alerts: behind"))

    def test_a_fleet_that_sends_out_of_order_is_not_judged(self):
        self.swap_times()
        self.swap_commits()
        self.assertIsNone(self.kept("--unordered")["reordered"])


class Alerts(RoundTest):
    HOT = "rule_id = 'hot' AND device_id = 'pump-1' AND boot = 1 AND seq"

    def test_missing(self):
        self.sql(f"DELETE FROM alerts WHERE {self.HOT} = 5")
        report = self.broken(alerts_missing=1)
        self.assertEqual(report["examples"]["alerts_missing"], [
            {"rule_id": "hot", "device": "pump-1", "boot": 1, "seq": 5, "metric": "temperature"}])

    def test_missing_for_one_of_two_rules_that_fit(self):
        self.sql("DELETE FROM alerts WHERE rule_id = 'very-hot' AND device_id = 'pump-1' AND boot = 2 AND seq = 10")
        self.broken(alerts_missing=1)

    def test_doubled(self):
        self.sql(f"INSERT INTO alerts SELECT * REPLACE (3 AS commit) FROM alerts WHERE {self.HOT} = 5")
        self.broken(alerts_doubled=1)

    def test_invented_for_a_reading_that_does_not_match(self):
        self.sql(f"""INSERT INTO alerts SELECT 'hot', * FROM stored
            WHERE {MESSAGE} = 2 AND metric = 'humidity'""")
        self.broken(alerts_invented=1)

    def test_invented_by_a_rule_that_is_not_in_force(self):
        self.sql(f"INSERT INTO alerts SELECT * REPLACE ('cold' AS rule_id) FROM alerts WHERE {self.HOT} = 5")
        self.broken(alerts_invented=1)

    def test_invented_for_a_reading_that_is_not_there(self):
        self.sql(f"DELETE FROM stored WHERE {MESSAGE} = 5 AND metric = 'temperature'")
        self.broken(lost=1, alerts_invented=1)

    def test_altered(self):
        for change in ("value = 1", "site = 'x'", "unit = NULL", "time = time + INTERVAL 1 MICROSECOND"):
            with self.subTest(change):
                self.sql("BEGIN")
                self.sql(f"UPDATE alerts SET {change} WHERE {self.HOT} = 5")
                self.broken(alerts_altered=1)
                self.sql("ROLLBACK")

    def test_altered_is_counted_once_though_its_reading_is_there_twice(self):
        self.sql(f"INSERT INTO stored SELECT * FROM stored WHERE {MESSAGE} = 5 AND metric = 'temperature'")
        self.sql(f"UPDATE alerts SET site = 'x' WHERE {self.HOT} = 5")
        self.broken(duplicated=1, alerts_altered=1)

    def test_a_reading_that_is_there_twice_has_one_alert(self):
        self.sql(f"INSERT INTO stored SELECT * FROM stored WHERE {MESSAGE} = 5 AND metric = 'temperature'")
        self.broken(duplicated=1)

    def test_alerts_of_a_metric_that_its_message_repeats(self):
        self.repeat_a_metric()
        rules = {"damp": "metric = 'humidity' AND seq = 7"}
        self.sql("DELETE FROM alerts")
        self.sql(f"INSERT INTO alerts SELECT 'damp', * FROM stored WHERE {rules['damp']}")
        self.kept(rules=rules)
        self.sql("DELETE FROM alerts WHERE device_id = 'pump-1' AND boot = 1 AND epoch_us(time) % 2 = 1")
        self.broken(alerts_missing=1, rules=rules)

    def test_no_rule_in_force(self):
        self.broken(alerts_invented=18, rules={})


class Files(RoundTest):
    def test_a_file_that_no_commit_names_is_seen_with_its_rows(self):
        def copy(folder):
            file = data_file(folder)
            file.with_name(file.name.replace("part-00001", "part-00009")).write_bytes(file.read_bytes())
        report = self.broken(tamper=copy, stray_files=1, duplicated=12)
        self.assertIn("part-00009", report["examples"]["stray_files"][0])

    def test_another_file_in_the_table(self):
        self.broken(tamper=lambda folder: (folder / "0.staged").write_text("x"), stray_files=1)

    def test_a_file_that_a_commit_removed(self):
        def remove(folder):
            append_commit(folder, {"remove": {"path": data_file(folder).relative_to(folder).as_posix()}})
        self.broken(tamper=remove, stray_files=1)

    def test_a_committed_file_that_is_missing(self):
        self.broken(tamper=lambda folder: data_file(folder).unlink(), missing_files=1, lost=12)

    def test_a_file_without_its_bytes(self):
        self.broken(tamper=lambda folder: data_file(folder).write_bytes(b""), damaged_files=1, lost=12)

    def test_a_file_of_zeros(self):
        def zero(folder):
            data_file(folder).write_bytes(bytes(data_file(folder).stat().st_size))
        self.broken(tamper=zero, damaged_files=1, lost=12)

    def test_a_file_with_a_byte_more(self):
        def grow(folder):
            data_file(folder).write_bytes(data_file(folder).read_bytes() + b"x")
        self.broken(tamper=grow, damaged_files=1, lost=12)

    def test_a_readable_file_of_another_size_than_its_commit_says(self):
        def resize(folder):
            size = data_file(folder).stat().st_size
            text = commit_path(folder, 1).read_text()
            name = data_file(folder).relative_to(folder).as_posix()
            lines = [line.replace(f'"size": {size}', f'"size": {size + 1}') if name in unquote(line) else line
                     for line in text.splitlines(keepends=True)]
            commit_path(folder, 1).write_text("".join(lines))
        self.broken(tamper=resize, damaged_files=1)

    def test_damage_inside_a_file_is_found_in_one_way_or_another(self):
        def flip(folder, share):
            data = bytearray(data_file(folder).read_bytes())
            data[int(len(data) * share)] ^= 0xFF
            data_file(folder).write_bytes(data)
        for share in (0.05, 0.1, 0.25, 0.999):
            with self.subTest(share):
                self.assertEqual(self.verdict(tamper=lambda folder: flip(folder, share))["verdict"], "broken")


class DeltaLog(RoundTest):
    def test_a_missing_commit(self):
        # A glob sees its rows; who reads by the log misses them.
        self.broken(tamper=lambda folder: commit_path(folder, 1).unlink(), log_damage=1, stray_files=4)

    def test_a_commit_without_its_bytes(self):
        self.broken(tamper=lambda folder: commit_path(folder, 1).write_text(""), log_damage=1, stray_files=4)

    def test_a_torn_commit(self):
        def tear(folder):
            text = commit_path(folder, 2).read_bytes()
            commit_path(folder, 2).write_bytes(text[: text.rstrip().rindex(b"\n") + 20])
        self.broken(tamper=tear, log_damage=1, stray_files=1)

    def test_no_log(self):
        def remove(folder):
            for file in (folder / "_delta_log").iterdir():
                file.unlink()
        report = self.broken(tamper=remove, log_damage=1, stray_files=12)
        self.assertIn("no commit", report["examples"]["log_damage"][0])

    def test_a_file_added_twice(self):
        def again(folder):
            file = data_file(folder)
            append_commit(folder, {"add": {"path": file.relative_to(folder).as_posix(), "size": file.stat().st_size}})
        self.broken(tamper=again, log_damage=1)

    def test_a_checkpoint_that_says_what_the_commits_say(self):
        self.kept(tamper=lambda folder: write_checkpoint(folder, 3, "true"))

    def test_a_checkpoint_without_a_file(self):
        self.broken(tamper=lambda folder: write_checkpoint(folder, 3, "name NOT LIKE '%part-00001%'"), log_damage=1)

    def test_a_checkpoint_that_cannot_be_read(self):
        path = f"_delta_log/{3:020}.checkpoint.parquet"
        self.broken(tamper=lambda folder: (folder / path).write_bytes(b"PAR1"), log_damage=1)


class CannotJudge(RoundTest):
    def test_an_acknowledgement_that_the_proxy_did_not_see(self):
        self.sql(f"DELETE FROM pubacks WHERE {SENT_MESSAGE} IN (3, 4)")
        report = self.refused("witnesses contradict")
        self.assertEqual(report["ledger_without_puback"], 2)
        self.assertEqual(report["examples"]["ledger_without_puback"][0], {"device": "pump-1", "boot": 1, "seq": 3})

    def test_an_acknowledgement_of_what_was_never_sent(self):
        self.sql("INSERT INTO pubacks VALUES ('pump-1', 1, 99, 1)")
        self.assertEqual(self.refused("witnesses contradict")["acknowledged_without_sent"], 1)

    def test_another_number_of_readings(self):
        self.sql(f"UPDATE ledger SET readings = 4 WHERE {SENT_MESSAGE} = 1")
        self.assertEqual(self.refused("witnesses contradict")["ledger_differs_from_sent"], 1)

    def test_a_reading_told_twice(self):
        self.sql(f"INSERT INTO sent SELECT * FROM sent WHERE {SENT_MESSAGE} = 1 AND metric = 'battery'")
        self.sql(f"UPDATE ledger SET readings = 4 WHERE {SENT_MESSAGE} = 1")
        self.refused("told twice")

    def test_nothing_was_sent(self):
        for table in ("sent", "ledger", "pubacks"):
            self.sql(f"DELETE FROM {table}")
        self.refused("nothing was sent")

    def test_inputs_that_are_missing(self):
        for name in ("sent.csv", "ledger.csv", "pubacks.csv"):
            with self.subTest(name):
                self.refused(name, tamper=lambda folder, name=name: (folder.parent / name).unlink())

    def test_a_table_that_is_missing(self):
        self.refused("no such directory", tamper=lambda folder: folder.rename(folder.parent / "elsewhere"))

    def test_inputs_that_are_ill_formed(self):
        changes = (
            (lambda text: text[:-1], "torn"),
            (lambda text: text[:-30], "torn"),
            (lambda text: text.replace("device,", "dev,", 1), "first line"),
            (lambda text: "", "empty"),
            (lambda text: text + "pump-1,1\n", ""),
            (lambda text: text + "pump-1,x,1,battery,1,1,,\n", ""),
            (lambda text: text + "pump-1,1,,battery,1,1,,\n", "without a value"),
        )
        for change, said in changes:
            with self.subTest(said):
                def tamper(folder, change=change):
                    path = folder.parent / "sent.csv"
                    path.write_text(change(path.read_text()))
                self.refused(said, tamper=tamper)

    def test_a_rule_that_is_no_sql(self):
        self.refused("rule odd", rules={"odd": "valve >> 'x'"})

    def test_arguments_that_make_no_sense(self):
        for arguments in (["--rule", "hot"], ["--rule", "=x"], ["--rule", "hot="], ["--rule", "hot=true"], ["--what"],
                          ["--workflows", "w"], ["--hooks", "h", "--events", "e"], ["--commands", "c"]):
            with self.subTest(arguments):
                self.assert_usage_error(arguments)


class Hours(RoundTest):
    def test_what_is_lost_of_a_later_hour(self):
        self.sql(f"DELETE FROM stored WHERE time >= make_timestamptz({LATER_HOUR})")
        self.sql(f"DELETE FROM alerts WHERE time >= make_timestamptz({LATER_HOUR})")
        report = self.verdict()
        self.assertEqual((report["verdict"], report["lost"]), ("broken", 108))


if __name__ == "__main__":
    unittest.main()
