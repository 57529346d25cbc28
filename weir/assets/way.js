// The way of a reading as a picture: left to right where there is room, else downwards.
"use strict";

import { say } from "./show.js";

const SVG = "http://www.w3.org/2000/svg";
/** Where to switch between the two; as in way.css. */
const ROOM = matchMedia("(min-width: 1000px)");

/** From, to. */
const EDGES = [
  ["devices", "door"], ["door", "letters"], ["door", "streams"], ["streams", "rules"], ["streams", "workflows"],
  ["streams", "sink"], ["rules", "alerts"], ["workflows", "targets"], ["sink", "tables"],
];

/** Left, top, of a node; and how an edge leaves and arrives. */
const WIDE = {
  size: [1180, 318], node: [188, 92],
  at: {
    devices: [0, 113], door: [248, 113], letters: [248, 226], streams: [496, 113], rules: [744, 0],
    workflows: [744, 113], sink: [744, 226], alerts: [992, 0], targets: [992, 113], tables: [992, 226],
  },
};
const TALL = {
  size: [344, 620], node: [152, 84],
  at: {
    devices: [20, 0], door: [20, 106], letters: [192, 106], streams: [20, 212], rules: [20, 324], alerts: [192, 324],
    workflows: [20, 430], targets: [192, 430], sink: [20, 536], tables: [192, 536],
  },
};

/** Line drawings on 20 by 20. */
const ICONS = {
  devices: "M5 5h10v10H5zM8 2v3M12 2v3M8 15v3M12 15v3M2 8h3M2 12h3M15 8h3M15 12h3",
  door: "M9 3h7v14H9M3 10h9M9 7l3 3-3 3",
  letters: "M3 5h14v10H3zM3 6l7 5 7-5",
  streams: "M2 6c4-3 4 3 8 0s4 3 8 0M2 11c4-3 4 3 8 0s4 3 8 0M2 16c4-3 4 3 8 0s4 3 8 0",
  rules: "M3 4h14l-5.5 6.5V16l-3 1.5v-7z",
  alerts: "M5 14V9a5 5 0 0 1 10 0v5l1.5 1.5h-13zM8.5 17.5h3",
  workflows: "M3 4h5v4H3zM12 12h5v4h-5zM5.5 8v6H12",
  targets: "M10 2.5a7.5 7.5 0 1 0 .01 0M10 6.5a3.5 3.5 0 1 0 .01 0M10 10h.01",
  sink: "M10 2v9M6.5 8l3.5 3.5L13.5 8M3 12v5h14v-5",
  tables: "M3 4h14v12H3zM3 8h14M3 12h14M8 8v8",
};

export class Way {
  #box;
  #nodes = {};
  #edges = [];
  #shown;

  constructor(box) {
    this.#box = box;
    this.#build();
    ROOM.addEventListener("change", () => {
      this.#build();
      if (this.#shown) this.show(this.#shown);
    });
  }

  /** Shows the hops, as hops.js makes them. */
  show(hops) {
    this.#shown = hops;
    for (const [name, node] of Object.entries(this.#nodes)) {
      const hop = hops[name];
      node.group.dataset.state = hop.present ? hop.state : "absent";
      say(node.figure, hop.figure);
      say(node.sub, hop.sub);
    }
    for (const edge of this.#edges) {
      edge.flow.dataset.speed = hops[edge.to].present ? speed(flow(hops, edge)) : "none";
    }
  }

  #build() {
    const plan = ROOM.matches ? WIDE : TALL;
    const [width, height] = plan.size;
    const picture = element("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "Devices, door, streams; from there rules and alerts, workflows and targets, the sink and its tables. The figures are in the table below." });
    picture.classList.add(ROOM.matches ? "wide" : "tall");
    this.#edges = EDGES.map(([from, to]) => {
      const d = path(plan, from, to);
      const flow = element("path", { class: "flow", d });
      picture.append(element("path", { class: "edge", d }), flow);
      return { from, to, flow };
    });
    this.#nodes = {};
    for (const [name, at] of Object.entries(plan.at)) {
      this.#nodes[name] = node(name, at, plan.node);
      picture.append(this.#nodes[name].group);
    }
    this.#box.replaceChildren(picture);
  }
}

const TITLES = {
  devices: "Devices", door: "Door", letters: "Dead letters", streams: "Streams", rules: "Rules", alerts: "Alerts",
  workflows: "Workflows", targets: "Targets", sink: "Sink", tables: "Tables",
};

function node(name, [left, top], [width, height]) {
  const group = element("g", { class: "node", transform: `translate(${left} ${top})` });
  const title = element("text", { class: "title", x: 38, y: 26 });
  title.textContent = TITLES[name];
  const figure = element("text", { class: "figure", x: 14, y: height - 33 });
  const sub = element("text", { class: "sub", x: 14, y: height - 13 });
  group.append(
    element("rect", { class: "box", width, height, rx: 12 }),
    element("path", { class: "icon", d: ICONS[name], transform: "translate(13 12) scale(0.9)" }),
    title, figure, sub,
  );
  return { group, figure, sub };
}

/** From the side of one node to the side of another. */
function path(plan, from, to) {
  const [width, height] = plan.node;
  const [[x1, y1], [x2, y2]] = [plan.at[from], plan.at[to]];
  if (x1 === x2) {
    if (y2 - y1 < 1.5 * height) return `M${x1 + width / 2} ${y1 + height}V${y2}`;
    // Past what is between, on the left.
    const side = x1 - 12;
    return `M${x1} ${y1 + height / 2}H${side + 8}q-8 0 -8 8V${y2 + height / 2 - 8}q0 8 8 8H${x2}`;
  }
  const [start, end, middle] = [x1 + width, x2, (x1 + width + x2) / 2];
  const [a, b] = [y1 + height / 2, y2 + height / 2];
  return `M${start} ${a}C${middle} ${a} ${middle} ${b} ${end} ${b}`;
}

/** What goes along an edge, a second: what comes out of its start, or what its end takes. */
function flow(hops, edge) {
  if (edge.from === "devices") return hops.door.flow;
  if (edge.to === "targets") return hops.workflows.flow;
  return hops[edge.to].flow ?? hops[edge.from].flow;
}

function speed(rate) {
  if (!rate) return "none";
  return rate < 10 ? "slow" : rate < 1000 ? "steady" : "fast";
}

function element(tag, attributes) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}
