"""What was found: a count for each kind of fault, examples, and figures."""

# Faults of Weir, in the order of the report. One of them is enough to break the promise.
FAULTS = (
    "lost", "duplicated", "altered", "invented", "reordered",
    "alerts_missing", "alerts_doubled", "alerts_invented", "alerts_altered",
    "stray_files", "missing_files", "damaged_files", "log_damage",
    "firings_missing", "firings_doubled", "firings_invented", "firings_reordered",
    "events_missing", "events_doubled", "events_invented", "keys_differ", "commands_missing",
)
# Contradictions between the witnesses: faults of the harness, after which no verdict holds.
CONTRADICTIONS = ("ledger_without_puback", "acknowledged_without_sent", "ledger_differs_from_sent")
FIGURES = (
    "messages_sent", "messages_acknowledged", "messages_judged", "readings_sent", "readings_stored",
    "readings_of_others", "alerts", "firings", "requests", "events", "messages_witnessed", "messages_lost_by_broker",
)
EXAMPLES = 10


class CannotJudge(Exception):
    """An input is missing or ill-formed, or two witnesses contradict each other."""


class Report:
    """Counts are null until judged."""

    def __init__(self):
        self.counts = dict.fromkeys(FAULTS + CONTRADICTIONS)
        self.figures = dict.fromkeys(FIGURES)
        self.examples = {}

    def found(self, kind, count, examples=()):
        """Adds `count` faults; `examples` is asked only if there are any."""
        self.counts[kind] = (self.counts[kind] or 0) + count
        if count:
            examples = examples() if callable(examples) else examples
            known = self.examples.setdefault(kind, [])
            known.extend(list(examples)[: EXAMPLES - len(known)])

    def found_rows(self, db, kind, relation, count="count(*)"):
        """Adds the rows of `relation`, a table or a query in parentheses; the examples are its first rows."""
        number = db.execute(f"SELECT coalesce({count}, 0)::BIGINT FROM {relation}").fetchone()[0]
        self.found(kind, number, lambda: rows(db, f"SELECT * FROM {relation} ORDER BY ALL LIMIT {EXAMPLES}"))

    def faults(self):
        """Sum of all faults of Weir."""
        return sum(self.counts[kind] or 0 for kind in FAULTS)

    def as_dict(self, verdict, error):
        said = {"verdict": verdict} | ({"error": error} if error else {})
        return said | self.counts | self.figures | {"examples": self.examples}

    def text(self, verdict):
        """For people."""
        lines = [f"{name:<26}{'not judged' if count is None else count}"
                 for name, count in (self.figures | self.counts).items()]
        for kind, examples in self.examples.items():
            lines += [f"{kind}: {example}" for example in examples]
        return "\n".join([f"verdict: {verdict}", *lines])


def rows(db, query):
    """The rows of `query` as dictionaries, without what is null."""
    cursor = db.execute(query)
    names = [column[0] for column in cursor.description]
    return [{name: value for name, value in zip(names, row) if value is not None} for row in cursor.fetchall()]
