// Whether everything that was received is accounted for.
"use strict";

import { byId, count, keep, make, plural, say } from "./show.js";

/** Seconds that a difference may last: the counters of one moment are read one after the other. */
const SETTLES = 30;
/** The parts of the sum, in the order of their equation. */
const PARTS = [
  ["received", "received", ""],
  ["stored", "in the table", "="],
  ["deduplicated", "seen before", "+"],
  ["in_flight", "on their way", "+"],
];

export class Verdict {
  #since;

  show(snapshot) {
    const balance = snapshot.balance;
    const readings = balance?.readings ?? {};
    byId("verdict").hidden = Object.keys(readings).length === 0;
    if (byId("verdict").hidden) return;
    const difference = Math.abs(balance.difference_readings ?? 0) + Math.abs(balance.difference_messages ?? 0);
    this.#since = difference === 0 ? undefined : this.#since ?? snapshot.time_ms;
    const open = difference !== 0 && snapshot.time_ms - this.#since > SETTLES * 1000;
    byId("verdict").dataset.state = open ? "bad" : "ok";
    say(byId("verdict-text"), open
      ? `▲ ${plural(difference, "reading or message is", "readings or messages are")} not accounted for`
      : "✓ Every reading received is accounted for");
    say(byId("verdict-fine"), fine(balance, difference));
    const shown = PARTS.filter(([part]) => readings[part] !== undefined);
    keep(byId("sum"), shown, ([part]) => part, term, (item, [part]) => say(item.querySelector("dd"), count(readings[part])));
    shares(readings);
  }
}

function fine(balance, difference) {
  const { received, accepted = 0, dead_lettered: dead = 0, rejected = 0, in_flight: waiting = 0 } = balance.messages;
  const door = [`${count(accepted)} accepted`, plural(dead, "dead letter", "dead letters"), `${count(rejected)} rejected`];
  if (waiting > 0) door.push(`${count(waiting)} at the door`);
  const messages = received === undefined ? "" : `${plural(received, "message", "messages")}: ${door.join(", ")}. `;
  return `${messages}Difference: ${count(difference)}.`;
}

function term([part, name, sign]) {
  const mark = make("span", "sign", sign);
  mark.setAttribute("aria-hidden", "true");
  const item = make("div", "term", make("dt", "", name), make("dd"));
  item.prepend(mark);
  item.classList.add(part);
  return item;
}

/** The same as a bar: what is in the table, what was left out, what is under way. */
function shares(readings) {
  const parts = ["stored", "deduplicated", "in_flight"];
  const all = parts.reduce((sum, part) => sum + Math.max(0, readings[part] ?? 0), 0);
  keep(byId("shares"), parts, (part) => part, (part) => make("span", part), (item, part) => {
    item.style.flexGrow = all === 0 ? 0 : Math.max(0, readings[part] ?? 0) / all;
  });
}
