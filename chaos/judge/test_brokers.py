"""Plants faults in a small true round behind a broker.

    python -m unittest test_brokers      (in this folder; needs only duckdb)
"""

import sys
import unittest

sys.dont_write_bytecode = True

from round_for_tests import RoundTest

MESSAGE = "device_id = 'pump-1' AND boot = 1 AND seq"
SENT_MESSAGE = "device = 'pump-1' AND boot = 1 AND seq"


class BrokerTest(RoundTest):
    def setUp(self):
        super().setUp()
        self.sql("CREATE TABLE witness AS SELECT device, boot, seq FROM ledger")

    def kept(self, **how):
        return super().kept(pubacks=False, **how)

    def broken(self, **expected):
        return super().broken(pubacks=False, **expected)

    def more(self, folder):
        self.sql(f"COPY witness TO '{folder}/witness.csv' (HEADER)")
        return ["--witness", str(folder / "witness.csv")]

    def not_stored(self, seq):
        for table in ("stored", "alerts"):
            self.sql(f"DELETE FROM {table} WHERE {MESSAGE} = {seq}")


class Kept(BrokerTest):
    def test_a_true_round_is_kept_and_its_figures_are_right(self):
        report = self.kept()
        self.assertEqual({name: report[name] for name in ("messages_witnessed", "messages_lost_by_broker",
                                                          "messages_acknowledged", "messages_judged", "lost")},
                         {"messages_witnessed": 72, "messages_lost_by_broker": 0, "messages_acknowledged": 72,
                          "messages_judged": 72, "lost": 0})

    def test_the_witness_may_see_messages_again_and_in_any_order(self):
        self.sql("INSERT INTO witness SELECT * FROM witness ORDER BY seq DESC")
        self.assertEqual(self.kept()["messages_witnessed"], 72)

    def test_the_witness_may_miss_what_is_stored(self):
        self.sql("DELETE FROM witness WHERE seq < 7")
        report = self.kept()
        self.assertEqual((report["messages_witnessed"], report["messages_lost_by_broker"]), (36, 0))

    def test_what_the_broker_gave_to_nobody_is_its_own_loss(self):
        self.not_stored(12)
        self.sql(f"DELETE FROM witness WHERE {SENT_MESSAGE} = 12")
        report = self.kept()
        self.assertEqual((report["messages_lost_by_broker"], report["messages_judged"]), (1, 71))

    def test_what_nobody_acknowledged_and_nobody_saw_may_be_missing(self):
        self.not_stored(12)
        self.sql(f"DELETE FROM witness WHERE {SENT_MESSAGE} = 12")
        self.sql(f"UPDATE ledger SET acknowledged_at = NULL WHERE {SENT_MESSAGE} = 12")
        self.assertEqual(self.kept()["messages_lost_by_broker"], 0)


class Broken(BrokerTest):
    def test_what_the_witness_saw_is_lost(self):
        self.not_stored(12)
        self.broken(lost=3)

    def test_also_if_the_device_never_got_its_acknowledgement(self):
        self.not_stored(12)
        self.sql(f"UPDATE ledger SET acknowledged_at = NULL WHERE {SENT_MESSAGE} = 12")
        self.broken(lost=3)

    def test_a_message_that_is_stored_in_part_was_given_to_weir(self):
        self.sql(f"DELETE FROM stored WHERE {MESSAGE} = 7 AND metric = 'humidity'")
        self.sql(f"DELETE FROM witness WHERE {SENT_MESSAGE} = 7")
        self.broken(lost=1)

    def test_a_message_that_was_delivered_again_is_stored_twice(self):
        self.sql(f"INSERT INTO stored SELECT * REPLACE (4 AS commit) FROM stored WHERE {MESSAGE} = 7")
        self.broken(duplicated=3)


class CannotJudge(BrokerTest):
    def test_a_witness_of_what_was_not_sent(self):
        self.sql("INSERT INTO witness VALUES ('pump-1', 1, 99)")
        self.refused("acknowledged_without_sent", pubacks=False)

    def test_two_kinds_of_witnesses(self):
        self.assert_usage_error(["--pubacks", "p", "--witness", "w"])


if __name__ == "__main__":
    unittest.main()
