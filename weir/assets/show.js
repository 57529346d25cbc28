// Numbers and elements. Text of devices reaches the page as text only: nothing here makes markup of a string.
"use strict";

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const NONE = "–";

export const byId = (id) => document.getElementById(id);

/** Exact: 1,234,567. */
export const count = (value) => (value === undefined ? NONE : whole.format(value));

/** Short: 1.2M. Exact up to 9,999. */
export const short = (value) =>
  value === undefined ? NONE : Math.abs(value) < 10000 ? whole.format(value) : compact.format(value);

/** A measured value: three or four digits that matter. */
export function measured(value) {
  if (value === undefined) return NONE;
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size >= 1e6 || size < 1e-3) return value.toExponential(2);
  const digits = size >= 100 ? 1 : size >= 1 ? 2 : 4;
  return new Intl.NumberFormat("en", { minimumFractionDigits: Math.min(digits, 2), maximumFractionDigits: digits }).format(value);
}

/** Per second. */
export function rate(value) {
  if (value === undefined) return NONE;
  const digits = value > 0 && value < 10 ? value.toFixed(1) : short(value);
  return `${digits}/s`;
}

/** A duration of seconds: 850 µs, 12 ms, 4.2 s, 3 min, 5 h, 2 d. */
export function time(seconds) {
  if (seconds === undefined) return NONE;
  const steps = [[86400, "d"], [3600, "h"], [60, "min"]];
  const step = steps.find(([size]) => seconds >= 2 * size);
  if (step) return `${Math.floor(seconds / step[0])} ${step[1]}`;
  if (seconds >= 1) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  if (seconds >= 0.001) return `${(seconds * 1000).toFixed(seconds < 0.01 ? 1 : 0)} ms`;
  return seconds === 0 ? "0 s" : `${(seconds * 1e6).toFixed(0)} µs`;
}

/** Bytes: 12.3 MiB. */
export function bytes(value) {
  if (value === undefined) return NONE;
  let [size, unit] = [value, 0];
  for (; size >= 1024 && unit < 4; unit++) size /= 1024;
  return `${size.toFixed(unit > 0 && size < 100 ? 1 : 0)} ${["B", "KiB", "MiB", "GiB", "TiB"][unit]}`;
}

/** One thing or several: 1 alert, 2 alerts. */
export const plural = (value, one, many) => `${count(value)} ${value === 1 ? one : many}`;

/** Sets the text of an element, if it is another one: what does not change is not read out. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** An element with a class, and texts or elements in it. */
export function make(tag, className, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

/** Makes the children of `list` one for each of `items`: keeps, in order, those that are there already, by key. */
export function keep(list, items, key, build, update) {
  const known = new Map([...list.children].map((child) => [child.dataset.key, child]));
  let at = list.firstElementChild;
  for (const item of items) {
    const name = key(item);
    let child = known.get(name);
    known.delete(name);
    if (!child) {
      child = build(item);
      child.dataset.key = name;
    }
    if (child === at) at = at.nextElementSibling;
    else list.insertBefore(child, at);
    update?.(child, item);
  }
  for (const gone of known.values()) gone.remove();
}

/** Texts of the cells of a row of a table. */
export function cells(row, texts) {
  texts.forEach((text, index) => say(row.cells[index], text));
}

/** A row with a heading and as many cells, all but the first `words` of them numbers. */
export function row(size, words = 1) {
  const line = document.createElement("tr");
  for (let index = 0; index < size; index++) {
    const cell = document.createElement(index === 0 ? "th" : "td");
    if (index === 0) cell.scope = "row";
    if (index >= words) cell.className = "number";
    line.append(cell);
  }
  return line;
}
