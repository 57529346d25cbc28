// Lines over the last minutes, drawn by uPlot.
"use strict";

import { rateBetween } from "./rates.js";
import { keep, make, say } from "./show.js";

/** Seconds that a chart shows at least. */
const LEAST = 60;
/** Snapshots over which a rate is smoothed. */
const SMOOTH = 5;
/** Lines differ in colour and in their dashes. */
const DASHES = [[], [7, 4], [2, 3], [10, 3, 2, 3], [4, 4], [12, 4]];
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });

/** A colour of the theme, as a canvas understands it. */
export function colour(name) {
  const probe = document.createElement("span");
  probe.style.color = `var(--${name})`;
  document.body.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

/** The smoothed rate of `count` at each snapshot. */
export function rates(history, count) {
  const all = history.all;
  return all.map((now, index) => (index === 0 ? null : rateBetween(all[Math.max(0, index - SMOOTH)], now, count) ?? null));
}

export class Chart {
  #box;
  #legend;
  #format;
  #lines = [];
  #plot;

  /** In `box`, its legend in the list `legend`; `format` makes a text of a value. */
  constructor(box, legend, format) {
    [this.#box, this.#legend, this.#format] = [box, legend, format];
    new ResizeObserver(() => this.#plot?.setSize(this.#size())).observe(box);
    document.addEventListener("themechange", () => this.#forget());
  }

  /** `lines` are `{ label, values }`, one value a snapshot, null where there is none. */
  show(history, lines) {
    if (lines.map((line) => line.label).join() !== this.#lines.map((line) => line.label).join()) this.#forget();
    this.#lines = lines;
    const times = history.all.map((snapshot) => snapshot.time_ms / 1000);
    const data = [times, ...lines.map((line) => line.values)];
    if (this.#plot) this.#plot.setData(data);
    else this.#plot = new uPlot(this.#options(), data, this.#box);
    this.#tell();
  }

  #forget() {
    this.#plot?.destroy();
    this.#plot = undefined;
  }

  #size() {
    return { width: Math.max(200, this.#box.clientWidth), height: this.#box.clientHeight };
  }

  #options() {
    const axis = { stroke: colour("muted"), font: "12px system-ui, sans-serif", ticks: { show: false }, grid: { stroke: colour("line"), width: 1 } };
    return {
      ...this.#size(),
      legend: { show: false },
      cursor: { show: false },
      padding: [10, 26, 0, 0],
      scales: {
        x: { range: (_, from, to) => [Math.min(from, to - LEAST), to] },
        y: { range: (_, __, most) => [0, most > 0 ? most * 1.15 : 1] },
      },
      axes: [
        { ...axis, grid: { show: false }, size: 30, space: 90, values: (_, times) => times.map((time) => clock.format(time * 1000)) },
        { ...axis, size: 56, space: 36, values: (_, values) => values.map((value) => this.#format(value)) },
      ],
      series: [
        {},
        ...this.#lines.map((line, index) => ({
          label: line.label,
          stroke: colour(`line-${index % 6}`),
          dash: DASHES[index % DASHES.length],
          width: 2,
          points: { show: false },
          fill: index === 0 && this.#lines.length < 3 ? colour("area") : undefined,
        })),
      ],
    };
  }

  /** The legend, and the same in words. */
  #tell() {
    const build = (line) => {
      const swatch = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      swatch.setAttribute("viewBox", "0 0 26 8");
      swatch.setAttribute("aria-hidden", "true");
      const stroke = document.createElementNS("http://www.w3.org/2000/svg", "path");
      const index = this.#lines.indexOf(line);
      stroke.setAttribute("d", "M1 4h24");
      stroke.setAttribute("class", `stroke-${index % 6}`);
      stroke.setAttribute("stroke-dasharray", DASHES[index % DASHES.length].join(" ") || "none");
      swatch.append(stroke);
      return make("li", "", swatch, make("span", "name", line.label), make("span", "value"));
    };
    const last = (line) => this.#format(line.values.at(-1) ?? undefined);
    keep(this.#legend, this.#lines, (line) => line.label, build, (item, line) => say(item.querySelector(".value"), last(line)));
    this.#box.setAttribute("aria-label", this.#lines.map((line) => `${line.label}: ${last(line)}`).join("; "));
  }
}
