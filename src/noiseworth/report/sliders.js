"use strict";
// What the planners' pages share: sliders, numbers in words, and a figure in the logarithm of the quality.

function significant(x, digits = 3) {
  if (x === 0) return "0";
  if (Math.abs(x) >= 1e4) return Math.round(x).toLocaleString("en");
  return String(Number(x.toPrecision(digits)));
}

function quantile(values, p) {
  const sorted = [...values].sort((a, b) => a - b);
  const at = p * (sorted.length - 1), i = Math.floor(at);
  return sorted[i] + (at - i) * (sorted[Math.min(i + 1, sorted.length - 1)] - sorted[i]);
}

// Sliders of values above 0 are logarithmic: position p means 10^p. Those of numbers that may be 0: position 0 means 0, p > 0 means 10^(p / 20).
// `steps` divide a range evenly, both ends of it included.
const around = (x) => [Math.log10(x) - 2, Math.log10(x) + 2];
const toCount = (p) => (p === 0 ? 0 : Math.round(10 ** (p / 20)));
const toPosition = (n) => (n < 1 ? 0 : Math.round(20 * Math.log10(n)));

function positionOf(c, value) {
  if (c.zero) return toPosition(value);
  const p = c.log ? Math.log10(value) : value;
  return c.steps ? ((p - c.range[0]) / (c.range[1] - c.range[0] || 1)) * c.steps : p;
}
function valueAt(c, position) {
  if (c.zero) return toCount(position);
  const p = c.steps ? c.range[0] + (position / c.steps) * (c.range[1] - c.range[0]) : position;
  return c.log ? 10 ** p : p;
}

// A slider in `form` for each control { key, words, range, log, zero, steps, show }; moving one changes `state` and draws. One that is not moved
// keeps its exact value, whatever the steps of the slider are.
function makeSliders(form, controls, state, draw) {
  for (const c of controls) {
    const row = document.createElement("div");
    row.className = "control";
    const label = document.createElement("label");
    label.htmlFor = c.key;
    const name = document.createElement("span");
    name.textContent = c.words;
    const shown = document.createElement("output");
    shown.htmlFor.add(c.key);
    label.append(name, shown);
    const input = document.createElement("input");
    input.type = "range";
    input.id = c.key;
    const [low, high] = c.steps ? [0, c.steps] : c.range;
    input.min = low;
    input.max = high;
    input.step = c.log && !c.steps ? 0.02 : 1;
    input.value = positionOf(c, state[c.key]);
    const showValue = () => {
      shown.textContent = c.show ? c.show(state[c.key]) : significant(state[c.key]);
      input.setAttribute("aria-valuetext", shown.textContent);
    };
    input.addEventListener("input", () => {
      state[c.key] = valueAt(c, Number(input.value));
      showValue();
      draw();
    });
    showValue();
    row.append(label, input);
    form.append(row);
  }
}

const LEFT = 70, RIGHT = 608, ABOVE = 14, BELOW = 330; // of the figure

// A figure in `svg`, empty but for its grid: x of a share 0 to 1, y of a quality from `least` to `most`; `ticks` are [share, text].
function makeFigure(svg, least, most, ticks, words) {
  svg.replaceChildren();
  if (most - least < 1e-9 * most) { least *= 0.99; most *= 1.01; }
  const x = (share) => LEFT + share * (RIGHT - LEFT);
  const y = (q) => BELOW - ((Math.log(q) - Math.log(least)) / (Math.log(most) - Math.log(least))) * (BELOW - ABOVE);
  const add = (name, attributes, text) => {
    const e = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
    if (text !== undefined) e.textContent = text;
    svg.append(e);
  };
  const grid = () => {
    for (let i = 0; i <= 4; i++) {
      const q = Math.exp(Math.log(least) + (i / 4) * (Math.log(most) - Math.log(least)));
      add("line", { class: "axis", x1: LEFT, x2: RIGHT, y1: y(q), y2: y(q) });
      add("text", { x: LEFT - 8, y: y(q) + 4, "text-anchor": "end" }, significant(q));
    }
    for (const [share, text] of ticks) add("text", { x: x(share), y: BELOW + 22, "text-anchor": "middle" }, text);
    add("text", { x: (LEFT + RIGHT) / 2, y: BELOW + 44, "text-anchor": "middle" }, words);
  };
  const path = (list) => list.map(([a, b], i) => `${i ? "L" : "M"}${a.toFixed(1)} ${b.toFixed(1)}`).join(" ");
  // A curve of qualities `q` with its interval `low` to `high`, at `shares`.
  const curve = (shares, q, low, high) => {
    const edge = (values) => shares.map((share, i) => [x(share), y(values[i])]);
    add("path", { class: "band", d: path([...edge(low), ...edge(high).reverse()]) + " Z" });
    add("path", { class: "line", d: path(edge(q)) });
  };
  return { x, y, add, grid, curve };
}
