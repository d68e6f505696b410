// The controls, the answer and the figure of the planner; purchase.js computes.
const data = JSON.parse(document.getElementById("data").textContent);
const POINTS = 60; // of the curve
const svg = document.getElementById("frontier");
const form = document.getElementById("controls");

const top10 = Math.ceil(Math.log10(data.seen[1])) + 1;
const controls = [
  { key: "budget", words: "Budget", log: true, range: around(data.start.budget) },
  { key: "clean_price", words: "Price of a clean image", log: true, range: around(data.start.clean_price) },
  { key: "noisy_price", words: "Price of a noisy image", log: true, range: around(data.start.noisy_price) },
  { key: "sigma", words: "Noise sigma of the noisy images", range: [0, data.sigmas.length - 1], show: (v) => significant(data.sigmas[v]) },
  { key: "have_clean", words: "Clean images that you have", zero: true, range: [0, 20 * top10] },
  { key: "have_noisy", words: "Noisy images that you have", zero: true, range: [0, 20 * top10] },
];
const state = { ...data.start };

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
  const values = shown.flatMap((p, i) => [bands[i][0], bands[i][1], p.q]);
  const quarters = [0, 1, 2, 3, 4].map((i) => [i / 4, `${25 * i}%`]);
  const least = Math.min(...values, low), most = Math.max(...values, high);
  const { x, y, add, grid, curve } = makeFigure(svg, least, most, quarters, "share of noisy images among all");
  for (const [from, to] of [[0, shown[0].share], [shown[shown.length - 1].share, 1]]) {
    if (to > from) add("rect", { class: "forbidden", x: x(from), y: ABOVE, width: x(to) - x(from), height: BELOW - ABOVE });
  }
  grid();
  curve(shown.map((p) => p.share), shown.map((p) => p.q), bands.map((band) => band[0]), bands.map((band) => band[1]));
  add("circle", { class: "best", cx: x(all.noisy / total), cy: y(best.q), r: 6 });
}

makeSliders(form, controls, state, draw);
draw();
