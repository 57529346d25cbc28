// The hops of a reading, with what each says of itself at the moment.
"use strict";

import { bytes, count, plural, rate, short, time } from "./show.js";

/** Seconds of lag from which on a consumer is called behind: tables and rules are otherwise within a second or two. */
const BEHIND = 10;
/** Share of the log's quota from which on it is called nearly full. */
const NEARLY_FULL = 0.8;

/**
 * The hops by name: `{ title, present, figure, sub, rate, lag, more, state, flow }`, where `state` is `ok`, `warn` or
 * `bad`, and `flow` what leaves it, a second.
 */
export function hops(history) {
  const now = history.now;
  const all = {
    devices: devices(now),
    door: door(history, now),
    letters: letters(history, now),
    streams: streams(history, now),
    rules: consumer(history, "Rules", (group) => group.group === "rules", "rows"),
    alerts: alerts(history, now),
    workflows: workflows(history, now),
    targets: targets(now),
    sink: consumer(history, "Sink", (group) => group.group.startsWith("sink/"), "rows"),
    tables: tables(history, now),
  };
  for (const hop of Object.values(all)) {
    hop.present ??= true;
    hop.state ??= "ok";
    if (!hop.present) Object.assign(hop, { figure: "elsewhere", sub: "not in this process", flow: undefined });
  }
  return all;
}

function devices(now) {
  const { connections } = now.totals;
  const known = now.devices;
  const silent = known?.silent > 0;
  return {
    title: "Devices",
    present: connections !== undefined,
    figure: known ? `${short(known.active)} active` : plural(connections, "connection", "connections"),
    sub: known
      ? silent ? `▲ ${short(known.silent)} silent` : plural(connections, "connection", "connections")
      : "over MQTT",
    more: known ? `${count(known.active)} active, ${count(known.silent)} silent` : undefined,
    state: silent ? "warn" : "ok",
  };
}

function door(history, now) {
  const readings = history.rate((snapshot) => snapshot.totals.received_readings);
  const slow = history.quantile("acknowledge", 0.99);
  const messages = history.rate((snapshot) => snapshot.totals.received_messages);
  return {
    title: "Door",
    present: now.totals.received_readings !== undefined,
    figure: rate(readings),
    sub: slow === undefined ? `${rate(messages)} messages` : `p99 ${time(slow)} to ack`,
    rate: `${rate(readings)} readings, ${rate(messages)} messages`,
    lag: slow === undefined ? undefined : `99 % acknowledged within ${time(slow)}`,
    more: `${count(now.totals.unacknowledged_messages)} messages wait for their acknowledgement`,
    flow: readings,
  };
}

function letters(history, now) {
  const all = (snapshot) => Object.values(snapshot.totals.rejected).reduce((sum, some) => sum + some, 0);
  const [refused, fresh, flow] = [all(now), history.gain(all, 60), history.rate(all, 60)];
  return {
    title: "Dead letters",
    present: now.totals.received_readings !== undefined,
    figure: short(refused),
    sub: refused === 0 ? "nothing refused" : fresh > 0 ? `▲ ${short(fresh)} in a minute` : "none for a minute",
    rate: `${count(fresh)} in the last minute`,
    more: `${plural(refused, "message", "messages")} refused and kept`,
    state: fresh > 0 ? "warn" : "ok",
    flow,
  };
}

function streams(history, now) {
  const { log_bytes: used, log_quota_bytes: quota } = now.totals;
  const flow = history.rate((snapshot) => snapshot.totals.appended_records);
  const sync = history.quantile("sync", 0.99);
  const full = quota > 0 ? used / quota : undefined;
  return {
    title: "Streams",
    present: now.totals.appended_records !== undefined,
    figure: rate(flow),
    sub: full === undefined
      ? "records"
      : `${full > NEARLY_FULL ? "▲ " : ""}${bytes(used)}, ${full < 0.01 ? "under 1" : (full * 100).toFixed(0)} % full`,
    rate: `${rate(flow)} records`,
    lag: sync === undefined ? undefined : `99 % of syncs within ${time(sync)}`,
    more: used === undefined ? undefined : `${bytes(used)} of ${bytes(quota)} on disk`,
    state: full > NEARLY_FULL ? "warn" : "ok",
    flow,
  };
}

/** The consumer groups that `of` chooses, together. */
function consumer(history, title, of) {
  const groups = history.now.groups.filter(of);
  const rows = (snapshot) => snapshot.groups.filter(of).reduce((sum, group) => sum + group.read_rows, 0);
  const flow = history.rate(rows);
  const seconds = Math.max(0, ...groups.map((group) => group.lag_seconds));
  const records = groups.reduce((sum, group) => sum + group.lag_records, 0);
  const behind = seconds > BEHIND;
  return {
    title,
    present: groups.length > 0,
    figure: rate(flow),
    sub: behind ? `▲ ${time(seconds)} behind` : `lag ${time(seconds)}`,
    rate: `${rate(flow)} rows`,
    lag: `${time(seconds)}, ${plural(records, "record", "records")}`,
    more: `${count(groups.reduce((sum, group) => sum + group.deduplicated_rows, 0))} rows seen before and left out`,
    state: behind ? "warn" : "ok",
    flow,
  };
}

function alerts(history, now) {
  const fired = (snapshot) => snapshot.rules.reduce((sum, rule) => sum + rule.matches, 0);
  const [fresh, flow] = [history.gain(fired, 60), history.rate(fired, 60)];
  return {
    title: "Alerts",
    present: now.groups.some((group) => group.group === "rules"),
    figure: short(fired(now)),
    sub: `${short(fresh)} in the last minute`,
    rate: `${count(fresh)} in the last minute`,
    more: `${count(fired(now))} since the start`,
    flow,
  };
}

function workflows(history, now) {
  const base = consumer(history, "Workflows", (group) => group.group === "workflows");
  if (!now.workflows) return { ...base, present: false };
  const { open_runs: open, dead_runs: dead, firings } = now.workflows;
  return {
    ...base,
    figure: `${short(open)} open`,
    sub: dead > 0 ? `▲ ${short(dead)} given up` : base.sub,
    more: `${count(firings)} firings, ${count(open)} runs open, ${count(dead)} given up`,
    state: dead > 0 ? "warn" : base.state,
  };
}

function targets(now) {
  const breakers = now.workflows?.breakers ?? [];
  const open = breakers.filter((breaker) => breaker.state !== "closed");
  const waiting = breakers.reduce((sum, breaker) => sum + breaker.pending, 0);
  return {
    title: "Targets",
    present: now.workflows !== undefined,
    figure: breakers.length === 0 ? "none yet" : short(breakers.length),
    sub: open.length > 0
      ? `▲ ${short(open.length)} not closed`
      : breakers.length === 0 ? "no step was due" : "all breakers closed",
    more: `${plural(waiting, "step waits", "steps wait")}`,
    state: open.length > 0 ? "bad" : "ok",
  };
}

function tables(history, now) {
  const readings = now.tables.find((table) => table.table === "readings") ?? now.tables[0];
  const late = readings && history.quantile(`table/${readings.table}`, 0.99, 120);
  const flow = history.rate((snapshot) => snapshot.tables.reduce((sum, table) => sum + table.rows, 0), 60);
  return {
    title: "Tables",
    present: now.tables.length > 0,
    figure: readings ? `${short(readings.rows)} rows` : "",
    sub: readings ? `${plural(readings.files, "file", "files")}, ${bytes(readings.bytes)}` : "",
    rate: `${rate(flow)} rows, last minute`,
    lag: late === undefined ? undefined : `99 % in the table within ${time(late)}`,
    more: readings ? `${count(readings.buffered_rows)} rows wait for the next commit` : undefined,
    flow,
  };
}
