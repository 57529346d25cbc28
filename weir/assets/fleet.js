// What the fleet measures: a card for each metric and site, with a sparkline.
"use strict";

import { colour, rates } from "./charts.js";
import { byId, keep, make, measured, rate, say, time } from "./show.js";

/** Cards drawn at once: more than a person looks at, and few enough to draw each second. */
const CARDS = 24;
/** Seconds that a sparkline shows at least. */
const LEAST = 30;

export class FleetCards {
  #plots = new Map();
  #history;

  constructor() {
    document.addEventListener("themechange", () => this.#forget());
    let width = 0;
    new ResizeObserver(([{ contentRect }]) => {
      if (contentRect.width !== width) this.#forget();
      width = contentRect.width;
    }).observe(byId("fleet"));
    byId("fleet-filter").addEventListener("input", () => this.show(this.#history));
  }

  show(history) {
    this.#history = history;
    const all = history?.now.fleet ?? [];
    byId("fleet-card").hidden = all.length === 0;
    const wanted = byId("fleet-filter").value.trim().toLowerCase();
    const found = all.filter((one) => `${one.metric} ${one.site}`.toLowerCase().includes(wanted));
    const shown = found.toSorted((a, b) => a.metric.localeCompare(b.metric) || a.site.localeCompare(b.site)).slice(0, CARDS);
    say(byId("fleet-fine"), shown.length < all.length
      ? `${shown.length} of ${all.length} metrics by site; values of the last full minute`
      : "Values of the last full minute, by metric and site");
    byId("fleet-none").hidden = found.length > 0 || all.length === 0;
    keep(byId("fleet"), shown, key, card, (item, one) => this.#update(item, one));
    for (const [name, plot] of this.#plots) {
      if (!plot.root.isConnected) {
        plot.destroy();
        this.#plots.delete(name);
      }
    }
  }

  /** They are drawn anew with the next snapshot. */
  #forget() {
    for (const plot of this.#plots.values()) plot.destroy();
    this.#plots.clear();
  }

  #update(item, one) {
    const now = this.#history.now.time_ms / 1000;
    const silent = one.last_seconds === undefined ? undefined : now - one.last_seconds;
    const flow = rates(this.#history, (snapshot) => of(snapshot, one)?.readings);
    say(item.querySelector(".mean"), measured(one.mean));
    say(item.querySelector(".range"), one.min === undefined ? "no full minute yet" : `${measured(one.min)} to ${measured(one.max)}`);
    say(item.querySelector(".flow"), silent > 60 ? `▲ silent for ${time(silent)}` : rate(flow.at(-1) ?? undefined));
    item.classList.toggle("silent", silent > 60);
    const means = this.#history.all.map((snapshot) => of(snapshot, one)?.mean ?? null);
    const moved = new Set(means).size > 2;
    this.#spark(item.querySelector(".spark"), key(one), flow, moved ? means : means.map(() => null));
  }

  /** Readings a second as an area; the mean as a line, once it has moved. */
  #spark(box, name, flow, means) {
    const times = this.#history.all.map((snapshot) => snapshot.time_ms / 1000);
    const data = [times, flow, means];
    let plot = this.#plots.get(name);
    if (plot) return plot.setData(data);
    const line = (scale, stroke, fill) => ({ scale, stroke, fill, width: 1.5, points: { show: false } });
    const options = {
      width: Math.max(80, box.clientWidth), height: 40, legend: { show: false }, cursor: { show: false }, padding: [3, 0, 1, 0],
      scales: {
        x: { range: (_, from, to) => [Math.min(from, to - LEAST), to] },
        rate: { range: (_, __, most) => [0, most > 0 ? most * 1.3 : 1] },
        mean: { range: (_, least, most) => (least === most ? [least - 1, most + 1] : [least, most]) },
      },
      axes: [{ show: false }, { show: false }],
      series: [{}, line("rate", colour("spark"), colour("area")), line("mean", colour("line-0"))],
    };
    plot = new uPlot(options, data, box);
    this.#plots.set(name, plot);
  }
}

const key = (one) => JSON.stringify([one.metric, one.site]);

const of = (snapshot, one) => snapshot.fleet.find((other) => other.metric === one.metric && other.site === one.site);

function card(one) {
  const head = make("p", "name", make("span", "metric", one.metric), " ", make("span", "site", one.site || "no site"));
  // What is too long is cut.
  head.title = `${one.metric}, ${one.site || "no site"}`;
  const spark = make("div", "spark");
  spark.setAttribute("aria-hidden", "true");
  return make("li", "reading", head, make("p", "mean"), make("p", "flow"), spark, make("p", "range"));
}
