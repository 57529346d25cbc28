// Puts each snapshot where it belongs.
"use strict";

import { Chart, rates } from "./charts.js";
import { FleetCards } from "./fleet.js";
import { hops } from "./hops.js";
import { Alerts, letters, rules, tables, workflows } from "./lists.js";
import { connect } from "./live.js";
import { History } from "./rates.js";
import { byId, bytes, cells, count, keep, make, rate, row, say, time } from "./show.js";
import { Verdict } from "./verdict.js";
import { Way } from "./way.js";

const history = new History();
const verdict = new Verdict();
const way = new Way(byId("way"));
const flow = new Chart(byId("flow"), byId("flow-legend"), rate);
const lag = new Chart(byId("lag"), byId("lag-legend"), time);
const alerts = new Alerts();
const fleet = new FleetCards();

connect(show, state);

function show(snapshot) {
  history.push(snapshot);
  head(snapshot);
  verdict.show(snapshot);
  const all = hops(history);
  way.show(all);
  keep(byId("hops"), Object.values(all), (hop) => hop.title, () => row(4, 4), (line, hop) => {
    cells(line, [hop.title, ...(hop.present ? [hop.rate ?? hop.figure, hop.lag ?? "–", hop.more ?? "–"] : ["elsewhere", "–", "–"])]);
  });
  flow.show(history, flows());
  lag.show(history, lags(snapshot));
  alerts.show(snapshot);
  rules(snapshot);
  workflows(snapshot);
  letters(snapshot);
  fleet.show(history);
  tables(snapshot);
  machine(snapshot);
}

/** How the connection is doing. */
function state(kind, text) {
  byId("live").className = `pill ${kind === "live" ? "ok" : kind === "lost" ? "warn" : "quiet"}`;
  say(byId("live-text"), kind === "lost" ? "Not live" : text);
  byId("notice").hidden = kind !== "lost";
  say(byId("notice"), kind === "lost" ? text : "");
  document.body.classList.toggle("stale", kind === "lost");
}

function head(snapshot) {
  const { ready, stage, version, started_ms: started, time_ms: now } = snapshot;
  byId("ready").className = `pill ${ready.ok ? "ok" : "bad"}`;
  say(byId("ready-text"), ready.ok ? "Ready" : "Not ready");
  byId("why").hidden = ready.ok;
  say(byId("why"), ready.ok ? "" : `Not ready: ${ready.reason ?? "it does not say why"}`);
  const up = started === undefined ? "" : `, up ${time((now - started) / 1000)}`;
  say(byId("about"), `${version}, ${stage === "up" ? "all stages" : `stage ${stage}`}${up}`);
  document.title = ready.ok ? "Weir" : "Not ready – Weir";
}

function flows() {
  const groups = (snapshot, found) => snapshot.groups.find((group) => group.group === found)?.read_rows;
  const lines = [
    ["acknowledged", (snapshot) => snapshot.totals.acknowledged_readings],
    ["read by the sink", (snapshot) => groups(snapshot, "sink/readings")],
    ["read by the rules", (snapshot) => groups(snapshot, "rules")],
  ];
  const there = lines.filter(([, of]) => of(history.now) !== undefined);
  return there.map(([label, of]) => ({ label, values: rates(history, of) }));
}

function lags(snapshot) {
  const of = (then, name) => then.groups.find((group) => group.group === name)?.lag_seconds ?? null;
  return snapshot.groups.map(({ group }) => ({ label: group, values: history.all.map((then) => of(then, group)) }));
}

function machine(snapshot) {
  const { cpu_seconds: cpu, resident_bytes: memory, connections, log_bytes: log } = snapshot.totals;
  const share = cpu === undefined ? undefined : history.rate((then) => then.totals.cpu_seconds, 30);
  const facts = [
    ["CPU", share === undefined ? undefined : `${(share * 100).toFixed(0)} % of a core`],
    ["Memory", memory && bytes(memory)],
    ["Log", log && bytes(log)],
    ["Connections", connections === undefined ? undefined : count(connections)],
  ].filter(([, value]) => value !== undefined);
  const build = ([name]) => make("div", "", make("dt", "", name), make("dd"));
  keep(byId("machine"), facts, ([name]) => name, build, (item, [, value]) => say(item.lastChild, value));
}
