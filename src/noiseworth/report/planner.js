"use strict";
// The computation of noiseworth.laws.budget in the browser: the best of 401 shares of the budget for noisy images,
// among those with an observed share of clean images.
const data = JSON.parse(document.getElementById("data").textContent);
const SHARES = 401;
const svg = document.getElementById("frontier");
const form = document.getElementById("controls");

function significant(x, digits = 3) {
  if (x === 0) return "0";
  if (Math.abs(x) >= 1e4) return Math.round(x).toLocaleString("en");
  return String(Number(x.toPrecision(digits)));
}

// Sliders of values above 0 are logarithmic: position p means 10^p.
const around = (x) => [Math.log10(x) - 2, Math.log10(x) + 2];
const top10 = Math.ceil(Math.log10(data.seen[1])) + 1;
const controls = [
  { key: "budget", words: "Budget", log: true, range: around(data.start.budget) },
  { key: "clean_price", words: "Price of a clean image", log: true, range: around(data.start.clean_price) },
  { key: "noisy_price", words: "Price of a noisy image", log: true, range: around(data.start.noisy_price) },
  { key: "sigma", words: "Noise sigma of the noisy images", range: [0, data.sigmas.length - 1], show: (v) => significant(data.sigmas[v]) },
  { key: "have_clean", words: "Clean images that you have", zero: true },
  { key: "have_noisy", words: "Noisy images that you have", zero: true },
];
const state = { ...data.start };

// Sliders of numbers of images: position 0 means 0, position p > 0 means 10^(p / 20).
const toCount = (p) => (p === 0 ? 0 : Math.round(10 ** (p / 20)));
const toPosition = (n) => (n < 1 ? 0 : Math.round(20 * Math.log10(n)));

// Position of the slider of control c for a value, and the value at a position.
function positionOf(c, value) {
  if (c.zero) return toPosition(value);
  return c.log ? Math.log10(value) : value;
}
function valueAt(c, p) {
  if (c.zero) return toCount(p);
  return c.log ? 10 ** p : p;
}

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
  const [low, high] = c.zero ? [0, 20 * top10] : c.range;
  input.min = low;
  input.max = high;
  input.step = c.log ? 0.02 : 1;
  input.value = positionOf(c, state[c.key]);
  const showValue = () => {
    shown.textContent = c.show ? c.show(state[c.key]) : significant(state[c.key]);
    input.setAttribute("aria-valuetext", shown.textContent);
  };
  input.addEventListener("input", () => {
    const p = Number(input.value);
    state[c.key] = valueAt(c, p);
    showValue();
    draw();
  });
  showValue();
  row.append(label, input);
  form.append(row);
}

function quality(law, clean, noisy, column) {
  let q = law.E;
  for (const t of law.terms) {
    q += t.A * Math.max(clean / data.unit + (noisy / data.unit) * t.r[column], 1e-6) ** -t.alpha;
  }
  return q;
}

function quantile(values, p) {
  const sorted = [...values].sort((a, b) => a - b);
  const at = p * (sorted.length - 1), i = Math.floor(at);
  return sorted[i] + (at - i) * (sorted[Math.min(i + 1, sorted.length - 1)] - sorted[i]);
}

function marginalWorth(clean, noisy, column) {
  const step = 1e-4 * Math.max(clean + noisy, 1);
  const atMix = quality(data.law, clean, noisy, column);
  const moreClean = quality(data.law, clean + step, noisy, column);
  const moreNoisy = quality(data.law, clean, noisy + step, column);
  return (atMix - moreNoisy) / (atMix - moreClean);
}

function plan() {
  const column = state.sigma, points = [];
  for (let i = 0; i < SHARES; i++) {
    const share = i / (SHARES - 1);
    const clean = state.have_clean + (state.budget * (1 - share)) / state.clean_price;
    const noisy = state.have_noisy + (state.budget * share) / state.noisy_price;
    const allowed = clean >= data.least[column] * (clean + noisy) * (1 - 1e-9);
    points.push({ share, clean, noisy, allowed, q: quality(data.law, clean, noisy, column) });
  }
  let best = null;
  for (const p of points) if (p.allowed && (best === null || p.q < best.q)) best = p;
  return { points, best, column };
}

const interval = (p, column) => {
  const draws = data.draws.map((law) => quality(law, p.clean, p.noisy, column));
  return [quantile(draws, 0.025), quantile(draws, 0.975)];
};

function element(name, attributes, text) {
  const e = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  if (text !== undefined) e.textContent = text;
  svg.append(e);
}

function draw() {
  const { points, best, column } = plan();
  const answer = document.getElementById("answer"), detail = document.getElementById("detail"), warning = document.getElementById("warning");
  svg.replaceChildren();
  if (best === null) {
    answer.textContent = "No observed model is like the possible purchases.";
    detail.textContent =
      "Even if the budget buys clean images alone, their share of all images is below that of every observed model. " +
      "Raise the budget, or lower the number of noisy images that you have.";
    warning.textContent = "";
    return;
  }
  const [low, high] = interval(best, column);
  const bought = [Math.floor(best.clean - state.have_clean), Math.floor(best.noisy - state.have_noisy)];
  answer.textContent = `Buy ${bought[0].toLocaleString("en")} clean and ${bought[1].toLocaleString("en")} noisy images.`;
  const flip = 1 / marginalWorth(points[0].clean, points[0].noisy, column), ratio = state.clean_price / state.noisy_price;
  detail.textContent =
    `Predicted quality ${significant(best.q)} (${significant(low)} to ${significant(high)}); all clean ${significant(points[0].q)}. ` +
    `A clean image costs as much as ${significant(ratio)} noisy images; noisy images pay from a ratio of ${significant(flip)} on.`;
  const total = best.clean + best.noisy;
  let observed = "";
  if (total > 1.01 * data.seen[1]) observed = "fewer";
  else if (total < 0.99 * data.seen[0]) observed = "more";
  warning.textContent = observed ? `Extrapolation: every observed model had ${observed} images, so that the law may not hold here.` : "";

  const allowed = points.filter((p) => p.allowed);
  const shown = allowed.filter((_, i) => i % 8 === 0 || i === allowed.length - 1);
  const bands = shown.map((p) => interval(p, column));
  const left = 70, right = 608, above = 14, below = 330;
  const values = shown.flatMap((p, i) => [bands[i][0], bands[i][1], p.q]);
  let least = Math.min(...values, low), most = Math.max(...values, high);
  if (most - least < 1e-9 * most) { least *= 0.99; most *= 1.01; }
  const x = (share) => left + share * (right - left);
  const y = (q) => below - ((Math.log(q) - Math.log(least)) / (Math.log(most) - Math.log(least))) * (below - above);
  for (const [from, to] of [[0, allowed[0].share], [allowed[allowed.length - 1].share, 1]]) {
    if (to > from) element("rect", { class: "forbidden", x: x(from), y: above, width: x(to) - x(from), height: below - above });
  }
  for (let i = 0; i <= 4; i++) {
    const q = Math.exp(Math.log(least) + (i / 4) * (Math.log(most) - Math.log(least)));
    element("line", { class: "axis", x1: left, x2: right, y1: y(q), y2: y(q) });
    element("text", { x: left - 8, y: y(q) + 4, "text-anchor": "end" }, significant(q));
    element("text", { x: x(i / 4), y: below + 22, "text-anchor": "middle" }, `${25 * i}%`);
  }
  element("text", { x: (left + right) / 2, y: below + 44, "text-anchor": "middle" }, "share of the budget for noisy images");
  const path = (list) => list.map(([a, b], i) => `${i ? "L" : "M"}${a.toFixed(1)} ${b.toFixed(1)}`).join(" ");
  const edge = (k) => shown.map((p, i) => [x(p.share), y(bands[i][k])]);
  element("path", { class: "band", d: path([...edge(0), ...edge(1).reverse()]) + " Z" });
  element("path", { class: "line", d: path(shown.map((p) => [x(p.share), y(p.q)])) });
  element("circle", { class: "best", cx: x(best.share), cy: y(best.q), r: 6 });
}

draw();
