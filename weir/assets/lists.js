// Alerts, rules, workflows, dead letters, tables: what is told line by line.
"use strict";

import { byId, bytes, cells, count, keep, make, measured, plural, row, say, short, time } from "./show.js";

/** Milliseconds between two sentences to those who listen. */
const SPEAK = 5000;
/** Signs that say the same as the colours. */
const SEVERITIES = { info: "●", warning: "▲", critical: "◆" };
const BREAKERS = { closed: ["●", "closed"], half_open: ["◐", "half open"], open: ["◆", "open"] };
/** In this order; states that never came are left out, the first three never. */
const OUTCOMES = ["done", "failed", "dead", "cancelled", "dropped"];

export class Alerts {
  #known;
  #unsaid = 0;
  #said = -Infinity;

  show(snapshot) {
    const { alerts } = snapshot;
    const fresh = this.#known ? alerts.filter((alert) => !this.#known.has(alert.id)) : [];
    const first = !this.#known;
    this.#known = new Set(alerts.map((alert) => alert.id));
    byId("alerts-none").hidden = alerts.length > 0;
    keep(byId("alerts"), alerts, (alert) => alert.id, (alert) => item(alert, !first), (line, alert) => {
      say(line.querySelector("time"), `${time(Math.max(0, snapshot.time_ms - alert.time_ms) / 1000)} ago`);
    });
    const fired = snapshot.rules.reduce((sum, rule) => sum + rule.matches, 0);
    say(byId("alerts-fine"), alerts.length === 0 ? "" : `The newest ${alerts.length}; rules were true ${plural(fired, "time", "times")} since the start`);
    this.#speak(fresh, alerts);
  }

  #speak(fresh, alerts) {
    this.#unsaid += fresh.length;
    if (this.#unsaid === 0 || performance.now() - this.#said < SPEAK) return;
    const newest = alerts[0];
    say(byId("alerts-said"), `${plural(this.#unsaid, "new alert", "new alerts")}, the newest: ${newest.rule}, ${newest.severity}, device ${newest.device}`);
    [this.#unsaid, this.#said] = [0, performance.now()];
  }
}

function item(alert, fresh) {
  const when = make("time", "");
  when.dateTime = new Date(alert.time_ms).toISOString();
  when.title = new Date(alert.time_ms).toLocaleString();
  const badge = make("span", `badge ${alert.severity in SEVERITIES ? alert.severity : "critical"}`, `${SEVERITIES[alert.severity] ?? "◆"} ${alert.severity}`);
  const value = alert.value === undefined ? "" : ` ${measured(alert.value)}`;
  const what = make("p", "what", make("strong", "", alert.rule), ` ${alert.device}${alert.site ? `, ${alert.site}` : ""}`);
  const line = make("li", fresh ? "alert fresh" : "alert", badge, make("div", "words", what, make("p", "message", alert.message)));
  line.append(make("span", "measure", `${alert.metric}${value}`), when);
  return line;
}

export function rules(snapshot) {
  const all = snapshot.rules.toSorted((a, b) => b.matches - a.matches || a.rule.localeCompare(b.rule));
  byId("rules-card").hidden = !snapshot.groups.some((group) => group.group === "rules");
  byId("rules-none").hidden = all.length > 0;
  keep(byId("rules"), all, (rule) => rule.rule, () => row(3), (line, rule) => {
    cells(line, [rule.rule, count(rule.matches), rule.errors > 0 ? `▲ ${count(rule.errors)}` : "0"]);
  });
}

export function workflows(snapshot) {
  const all = snapshot.workflows;
  byId("workflows-card").hidden = !all;
  if (!all) return;
  const outcomes = OUTCOMES.filter((state, index) => index < 3 || all.runs[state] > 0);
  const tiles = [["open", all.open_runs], ...outcomes.map((state) => [state, all.runs[state] ?? 0])];
  const tile = ([state]) => make("div", `tile ${state}`, make("dt", "", state === "dead" ? "given up" : state), make("dd"));
  keep(byId("runs"), tiles, ([state]) => state, tile, (box, [, value]) => say(box.querySelector("dd"), short(value)));
  byId("breakers-none").hidden = all.breakers.length > 0;
  const build = (breaker) => make("li", "breaker", make("span", "target", breaker.target), make("span", ""));
  keep(byId("breakers"), all.breakers, (breaker) => breaker.target, build, (line, breaker) => {
    const [sign, name] = BREAKERS[breaker.state] ?? ["◆", breaker.state];
    line.lastChild.className = `badge ${breaker.state}`;
    say(line.lastChild, `${sign} ${name}${breaker.pending > 0 ? `, ${short(breaker.pending)} waiting` : ""}`);
  });
}

export function letters(snapshot) {
  const reasons = Object.entries(snapshot.totals.rejected).filter(([, messages]) => messages > 0);
  byId("letters-card").hidden = snapshot.totals.received_messages === undefined && !snapshot.workflows;
  const all = reasons.reduce((sum, [, messages]) => sum + messages, 0);
  const dead = snapshot.workflows?.runs.dead ?? 0;
  const ended = dead > 0 ? `, ${plural(dead, "workflow", "workflows")} given up` : "";
  say(byId("letters-text"), all + dead === 0 ? "✓ Nothing was refused" : `${plural(all, "message", "messages")} refused and kept${ended}`);
  const build = ([reason]) => make("li", "reason", make("span", "", reason.replaceAll("_", " ")), make("span", "number"));
  const sorted = reasons.toSorted((a, b) => b[1] - a[1]);
  keep(byId("letters"), sorted, ([reason]) => reason, build, (line, [, messages]) => say(line.lastChild, count(messages)));
}

export function tables(snapshot) {
  byId("tables-card").hidden = snapshot.tables.length === 0;
  keep(byId("tables"), snapshot.tables, (table) => table.table, () => row(5), (line, table) => {
    cells(line, [table.table, count(table.rows), count(table.files), bytes(table.bytes), count(table.buffered_rows)]);
  });
}
