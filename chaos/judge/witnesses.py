"""What the devices sent and what was acknowledged to them, from the files of a round.

Makes two tables:

    sent      device, boot, seq, metric, time (microseconds, UTC), value, unit, site     one row per reading
    messages  device, boot, seq, readings, acknowledged                                  one row per message

and one more, of what a broker delivered to a second subscriber, if there is one between the devices and Weir:

    delivered  device, boot, seq                                                         one row per message
"""

from report import CannotJudge

SENT = {"device": "VARCHAR", "boot": "BIGINT", "seq": "BIGINT", "metric": "VARCHAR", "time": "BIGINT",
        "value": "DOUBLE", "unit": "VARCHAR", "site": "VARCHAR"}
LEDGER = {"device": "VARCHAR", "boot": "BIGINT", "seq": "BIGINT", "readings": "BIGINT", "acknowledged_at": "BIGINT"}
PUBACKS = {"device": "VARCHAR", "boot": "BIGINT", "seq": "BIGINT", "passed_at": "BIGINT"}
DELIVERED = {"device": "VARCHAR", "boot": "BIGINT", "seq": "BIGINT"}

MESSAGE = "device, boot, seq"


def load(db, sent, ledger, pubacks, witness, report):
    read(db, "sent", sent, SENT, optional=("unit", "site"))
    read(db, "ledger", ledger, LEDGER, optional=("acknowledged_at",))
    read(db, "pubacks", pubacks, PUBACKS)
    read(db, "witnessed", witness, DELIVERED)
    db.execute(f"CREATE TABLE delivered AS SELECT DISTINCT {MESSAGE} FROM witnessed")
    # What a broker delivers, it has taken from the device.
    db.execute(f"CREATE TABLE seen AS SELECT {MESSAGE} FROM pubacks UNION SELECT {MESSAGE} FROM delivered")
    # A fleet that goes on with its ledger may tell of a message twice: it is acknowledged if one line says so.
    db.execute(f"""CREATE TABLE told AS SELECT {MESSAGE}, max(readings) AS readings,
        count(acknowledged_at) > 0 AS acknowledged FROM ledger GROUP BY ALL""")
    db.execute(f"""CREATE TABLE messages AS
        SELECT {MESSAGE}, made.readings, coalesce(told.acknowledged, false) OR seen.device IS NOT NULL AS acknowledged
        FROM (SELECT {MESSAGE}, count(*) AS readings FROM sent GROUP BY ALL) AS made
        LEFT JOIN told USING ({MESSAGE}) LEFT JOIN seen USING ({MESSAGE})""")
    figures(db, report)
    contradictions(db, bool(pubacks), report)
    for table in ("ledger", "pubacks", "witnessed", "seen", "told"):
        db.execute(f"DROP TABLE {table}")


def read(db, table, paths, columns, optional=()):
    """Reads CSV files, whose columns must be exactly `columns`, to `table`."""
    for path in paths:
        check_whole_lines(path, ",".join(columns))
    texts = ", ".join(name if kind != "VARCHAR" else f"nullif({name}, '') AS {name}"
                      for name, kind in columns.items())
    required = [f"{name} IS NOT NULL" for name in columns if name not in optional]
    definition = ", ".join(f"{name} {kind}" for name, kind in columns.items())
    db.execute(f"CREATE TABLE {table} ({definition})")
    if not paths:
        return
    # Nothing is guessed: a guess from the first lines would make numbers of device names, or skip what does not fit.
    db.execute(f"""INSERT INTO {table} SELECT {texts} FROM read_csv(?, columns = {columns!r}, auto_detect = false,
        header = true, delim = ',', quote = '"', escape = '"', nullstr = '', strict_mode = true)""",
               [[str(path) for path in paths]])
    holes = db.execute(f"SELECT count(*) FROM {table} WHERE NOT ({' AND '.join(required)})").fetchone()[0]
    if holes:
        raise CannotJudge(f"{', '.join(map(str, paths))}: {holes} lines without a value that every line must have")


def check_whole_lines(path, header):
    """Refuses a file with another header, or a torn last line: a number cut short is another number."""
    with open(path, "rb") as file:
        first = file.readline().rstrip(b"\r\n").decode(errors="replace")
        file.seek(0, 2)
        if file.tell() == 0:
            raise CannotJudge(f"{path}: empty, expected the header `{header}`")
        file.seek(-1, 2)
        last = file.read(1)
    if first != header:
        raise CannotJudge(f"{path}: the first line is `{first[:200]}`, expected `{header}`")
    if last != b"\n":
        raise CannotJudge(f"{path}: the last line is torn, its writer did not finish")


def figures(db, report):
    messages, acknowledged, readings = db.execute(
        "SELECT count(*), count(*) FILTER (acknowledged), coalesce(sum(readings), 0)::BIGINT FROM messages").fetchone()
    report.figures |= {"messages_sent": messages, "messages_acknowledged": acknowledged, "readings_sent": readings}
    if messages == 0:
        raise CannotJudge("nothing was sent, so there is nothing to judge")


def contradictions(db, proxied, report):
    """Checks the witnesses against each other. What they say is no evidence while they disagree."""
    known = f"SELECT {MESSAGE} FROM messages"
    if proxied:
        report.found_rows(db, "ledger_without_puback",
                          f"(SELECT {MESSAGE} FROM told WHERE acknowledged EXCEPT SELECT {MESSAGE} FROM seen)")
    report.found_rows(db, "acknowledged_without_sent", f"""((SELECT {MESSAGE} FROM told WHERE acknowledged
        UNION SELECT {MESSAGE} FROM seen) EXCEPT {known})""")
    report.found_rows(db, "ledger_differs_from_sent", f"""(SELECT {MESSAGE}, told.readings AS readings_in_ledger,
        messages.readings AS readings_sent FROM told JOIN messages USING ({MESSAGE})
        WHERE told.readings <> messages.readings)""")
    wrong = [kind for kind in ("ledger_without_puback", "acknowledged_without_sent", "ledger_differs_from_sent")
             if report.counts[kind]]
    if wrong:
        raise CannotJudge("the witnesses contradict each other: "
                          + ", ".join(f"{kind} {report.counts[kind]}, such as {report.examples[kind][0]}"
                                      for kind in wrong))
