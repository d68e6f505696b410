// The controls, the answer and the figure of the planner; purchase.js computes.
const data = JSON.parse(document.getElementById("data").textContent);
const POINTS = 60; // of the curve
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

function quantile(values, p) {
  const sorted = [...values].sort((a, b) => a - b);
  const at = p * (sorted.length - 1), i = Math.floor(at);
  return sorted[i] + (at - i) * (sorted[Math.min(i + 1, sorted.length - 1)] - sorted[i]);
}

// The offer of the sliders, and all images after a purchase { clean, noisy }.
const offerOf = () => ({ ...state, least: data.least[state.sigma] });
const together = (bought) => ({ clean: state.have_clean + bought.clean, noisy: state.have_noisy + bought.noisy });

// Mixes that use up the budget, by the share of noisy images in all, up to the greatest that is allowed.
function mixes(offer) {
  const { budget, clean_price, noisy_price, have_clean, have_noisy } = offer;
  const mostNoisy = have_noisy + budget / noisy_price;
  const first = have_noisy / (have_noisy + have_clean + budget / clean_price);
  const last = Math.min(mostNoisy / (mostNoisy + have_clean), 1 - offer.least);
  return Array.from({ length: POINTS }, (_, i) => {
    const share = first + (i / (POINTS - 1)) * (last - first);
    const images = (budget + clean_price * have_clean + noisy_price * have_noisy) / (clean_price * (1 - share) + noisy_price * share);
    const p = { share, clean: images * (1 - share), noisy: images * share };
    return { ...p, q: quality(data.law, p.clean, p.noisy, offer.sigma) };
  });
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
  const offer = offerOf(), column = offer.sigma, best = bestPurchase(data.law, column, offer);
  const answer = document.getElementById("answer"), detail = document.getElementById("detail"), warning = document.getElementById("warning");
  svg.replaceChildren();
  if (best === null) {
    answer.textContent = "No observed model is like the possible purchases.";
    detail.textContent =
      "Even if the budget buys clean images alone, their share of all images is below that of every observed model, " +
      "or there are none. Raise the budget, or lower the number of noisy images that you have.";
    warning.textContent = "";
    return;
  }
  const all = together(best), allClean = together({ clean: mostClean(offer), noisy: 0 });
  const [low, high] = interval(all, column);
  answer.textContent = `Buy ${best.clean.toLocaleString("en")} clean and ${best.noisy.toLocaleString("en")} noisy images.`;
  const flip = 1 / marginalWorth(data.law, allClean.clean, allClean.noisy, column), ratio = state.clean_price / state.noisy_price;
  detail.textContent =
    `Predicted quality ${significant(best.q)} (${significant(low)} to ${significant(high)}); ` +
    `all clean ${significant(quality(data.law, allClean.clean, allClean.noisy, column))}. ` +
    `A clean image costs as much as ${significant(ratio)} noisy images; noisy images pay from a ratio of ${significant(flip)} on.`;
  if (best.noisy > 0 && ratio <= flip) detail.textContent += " The noisy images use up what clean ones alone would leave over.";
  const total = all.clean + all.noisy;
  let observed = "";
  if (total > 1.01 * data.seen[1]) observed = "fewer";
  else if (total < 0.99 * data.seen[0]) observed = "more";
  warning.textContent = observed ? `Extrapolation: every observed model had ${observed} images, so that the law may not hold here.` : "";

  const shown = mixes(offer);
  const bands = shown.map((p) => interval(p, column));
  const left = 70, right = 608, above = 14, below = 330;
  const values = shown.flatMap((p, i) => [bands[i][0], bands[i][1], p.q]);
  let least = Math.min(...values, low), most = Math.max(...values, high);
  if (most - least < 1e-9 * most) { least *= 0.99; most *= 1.01; }
  const x = (share) => left + share * (right - left);
  const y = (q) => below - ((Math.log(q) - Math.log(least)) / (Math.log(most) - Math.log(least))) * (below - above);
  for (const [from, to] of [[0, shown[0].share], [shown[shown.length - 1].share, 1]]) {
    if (to > from) element("rect", { class: "forbidden", x: x(from), y: above, width: x(to) - x(from), height: below - above });
  }
  for (let i = 0; i <= 4; i++) {
    const q = Math.exp(Math.log(least) + (i / 4) * (Math.log(most) - Math.log(least)));
    element("line", { class: "axis", x1: left, x2: right, y1: y(q), y2: y(q) });
    element("text", { x: left - 8, y: y(q) + 4, "text-anchor": "end" }, significant(q));
    element("text", { x: x(i / 4), y: below + 22, "text-anchor": "middle" }, `${25 * i}%`);
  }
  element("text", { x: (left + right) / 2, y: below + 44, "text-anchor": "middle" }, "share of noisy images among all");
  const path = (list) => list.map(([a, b], i) => `${i ? "L" : "M"}${a.toFixed(1)} ${b.toFixed(1)}`).join(" ");
  const edge = (k) => shown.map((p, i) => [x(p.share), y(bands[i][k])]);
  element("path", { class: "band", d: path([...edge(0), ...edge(1).reverse()]) + " Z" });
  element("path", { class: "line", d: path(shown.map((p) => [x(p.share), y(p.q)])) });
  element("circle", { class: "best", cx: x(all.noisy / total), cy: y(best.q), r: 6 });
}

draw();
