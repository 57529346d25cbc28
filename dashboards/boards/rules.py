"""Rules and workflows: what fires, what comes of it, and what is given up."""

from boards.layout import STAGE, Board, Row, variable
from boards.panels import GREEN, ORANGE, RED, S, curves, p50_p99, quantile, rate, stat, states, table, total

RULE = variable("rule", "Rule", f"label_values(weir_rules_evaluations_total{{{S}}}, rule)")
TARGET = variable("target", "Target", f"label_values(weir_workflows_breaker_state{{{S}}}, target)")
R = 'rule=~"$rule"'
T = 'target=~"$target"'

NOW = [
    (4, stat("Rules", "Rules in force.", "none", [(total("weir_rules_loaded", how="max"), "rules")])),
    (4, stat(
        "Last reload", "Whether the rules in force are those of the last attempt to read them: 1 yes, 0 no. Alert: "
        "WeirRulesNotReloaded.", "bool:good/refused",
        [(total("weir_rules_last_reload_success", how="min"), "reload")], [(None, RED), (1, GREEN)],
    )),
    (4, stat(
        "Matches", "Readings, or messages, on which a rule fired: alerts.", "count:alerts/s",
        [(rate("weir_rules_matches_total", R), "alerts")],
    )),
    (4, stat(
        "Open runs", "Runs of workflows that have not ended.", "none",
        [(total("weir_workflows_open_runs", 'state="pending"'), "pending")], [(10000, ORANGE)],
    )),
    (4, stat(
        "Runs that wait for a person", "A step of theirs was given up. Alert: WeirWorkflowDeadLetters. "
        "weir dlq list --source workflows shows them.", "none",
        [(total("weir_workflows_open_runs", 'state="dead"'), "dead")], [(1, RED)],
    )),
    (4, stat(
        "Breakers not closed", "Targets that are left alone for a while, because they failed. Alert: "
        "WeirWorkflowTargetDown.", "none",
        [(f"count(weir_workflows_breaker_state{{{S},{T}}} > 0) or vector(0)", "open")], [(1, RED)],
    )),
]

RULES = [
    (12, curves(
        "Alerts, by rule", "Readings, or messages, on which the rule fired.", "count:alerts/s",
        [(rate("weir_rules_matches_total", R, "rule"), "{{rule}}")],
    )),
    (12, curves(
        "Errors, by rule", "Readings on which the expression failed: it does not fire there. The first of each record "
        "is a dead letter. Alert: WeirRuleErrors.", "count:errors/s",
        [(rate("weir_rules_errors_total", R, "rule"), "{{rule}}")],
    )),
    (8, curves(
        "Evaluation of a batch", "All rules on one batch of readings.", "s", p50_p99("weir_rules_evaluation_seconds"),
    )),
    (8, curves(
        "Evaluations", "Readings times rules.", "count:evaluations/s",
        [(rate("weir_rules_evaluations_total", R), "evaluations")],
    )),
    (8, curves(
        "Waits for the streams", "Times what fired could not be appended because the streams were full.",
        "count:waits/s", [(rate("weir_rules_append_waits_total"), "waits")], [(0.1, RED)], drill="weir-storage",
    )),
]

RUNS = [
    (8, curves(
        "Firings, by outcome", "Taken: a run was made. Repeated: it was there already. Dead letter: too many runs are "
        "open.", "count:firings/s", [(rate("weir_workflows_firings_total", by="outcome"), "{{outcome}}")],
    )),
    (8, curves(
        "Runs, by state", "Runs that came into a state.", "count:runs/s",
        [(rate("weir_workflows_runs_total", by="state"), "{{state}}")],
    )),
    (8, curves(
        "Reading to first attempt", "From the receipt of a reading to the first attempt at a step that it causes.", "s",
        p50_p99("weir_workflows_start_seconds"), [(1, ORANGE)],
    )),
    (8, curves(
        "Open runs", "Pending ones go on by themselves; dead ones wait for a person.", "count:runs",
        [(total("weir_workflows_open_runs", by="state"), "{{state}}")],
    )),
    (8, curves(
        "Steps, by outcome", "Steps done or given up.", "count:steps/s",
        [(rate("weir_workflows_steps_total", T, "outcome"), "{{outcome}}")],
    )),
    (8, curves(
        "Commit of the outbox", "How long a commit of runs and steps takes.", "s",
        p50_p99("weir_workflows_commit_seconds"), [(1, ORANGE)],
    )),
]

TARGETS = [
    (24, states(
        "Circuit breakers", "Open: the target failed several times in a row and is left alone. Half open: one attempt "
        "tries it.", [(total("weir_workflows_breaker_state", T, "target", "max"), "{{target}}")],
        [("closed", GREEN), ("half open", ORANGE), ("open", RED)],
    )),
    (8, curves(
        "Attempts, by outcome", "Done; failed and tried again; busy: the target asked for a pause; refused for good; "
        "absent: the device is away.", "count:attempts/s",
        [(rate("weir_workflows_attempts_total", T, "outcome"), "{{outcome}}")],
    )),
    (8, curves(
        "Time of an attempt, p99", "By target.", "s",
        [(quantile(0.99, "weir_workflows_attempt_seconds", T, "target"), "{{target}}")],
    )),
    (8, curves(
        "Steps that wait", "Steps that wait or run, by target.", "count:steps",
        [(total("weir_workflows_pending", T, "target"), "{{target}}")],
    )),
]

LETTERS = [
    (12, curves(
        "Dead letters", "Steps given up, firings not taken, readings on which a rule failed, messages refused at the "
        "door.", "count:letters/s",
        [(rate("weir_workflows_steps_total", 'outcome="dead"'), "steps"),
         (rate("weir_workflows_firings_total", 'outcome="dead_letter"'), "firings"),
         (rate("weir_rules_errors_total"), "rule errors"),
         (rate("weir_ingest_rejected_messages_total"), "messages")], drill="weir-fleet",
    )),
    (12, table(
        "Targets", "Since the start of each process.", "none",
        [(total("weir_workflows_breaker_state", T, "target", "max"), "breaker"),
         (total("weir_workflows_attempts_total", f'{T},outcome="done"', "target"), "done"),
         (total("weir_workflows_attempts_total", f'{T},outcome!="done"', "target"), "not done"),
         (total("weir_workflows_steps_total", f'{T},outcome="dead"', "target"), "given up"),
         (total("weir_workflows_breaker_transitions_total", f'{T},to="open"', "target"), "opened")],
    )),
]

BOARD = Board(
    "weir-rules", "Weir: Rules and workflows", "What fires, what comes of it, which targets are left alone, what is given up.",
    [STAGE, RULE, TARGET],
    [
        Row("Now", 4, NOW),
        Row("Rules", 7, RULES),
        Row("Runs", 7, RUNS),
        Row("Targets", 7, TARGETS),
        Row("Dead letters", 8, LETTERS),
    ],
)
