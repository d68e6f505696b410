// The controls, the answer and the figure of the planner of exposures; exposure.js computes.
const data = JSON.parse(document.getElementById("data").textContent);
const POINTS = 60; // of the curve
const svg = document.getElementById("frontier");
const unit = data.machine.unit, isWhole = data.machine.kind === "averages";
const inUnits = (x) => `${significant(x)} ${unit}`;

const ends = [data.machine.least, data.machine.most];
const middle = Math.sqrt(ends[0] * ends[1]);
const start = {
  budget: data.budget,
  overhead: data.machine.overhead,
  exposure: isWhole ? Math.round(middle) : middle,
  objects: data.machine.objects ?? 0,
};
const state = { ...start };
const controls = [
  { key: "budget", words: "Budget", log: true, range: around(start.budget), show: inUnits },
  { key: "overhead", words: "Overhead of each image", range: [0, Math.max(4 * start.overhead, data.machine.most)], steps: 100, show: inUnits },
  { key: "objects", words: "Objects, each exposed once", zero: true, range: [0, 20 * Math.ceil(Math.log10(10 * data.seen[1]))], show: (n) => (n ? significant(n) : "as many as wanted") },
  { key: "exposure", words: "An exposure of your own", log: !isWhole, range: isWhole ? ends : ends.map(Math.log10), steps: isWhole ? 0 : 100, show: inUnits },
];

const machineOf = () => ({ ...data.machine, overhead: state.overhead, objects: state.objects || Infinity });

function interval(machine, images) {
  const draws = data.draws.map((law) => qualityOfChoice(law, machine, images));
  return [quantile(draws, 0.025), quantile(draws, 0.975)];
}
const inWords = (images) => images.map((i) => `${i.count.toLocaleString("en")} of ${inUnits(i.exposure)}`).join(" and ");

function tell(machine, plan) {
  const law = data.law, best = qualityOfChoice(law, machine, plan.best), [low, high] = interval(machine, plan.best);
  const times = (images) => significant(qualityOfChoice(law, machine, images) / best);
  document.getElementById("answer").textContent = `Take ${inWords(plan.best)}.`;
  const own = [{ exposure: state.exposure, count: mostImages(machine, state.budget, state.exposure) }];
  const sentences = [
    `Predicted quality ${significant(best)} (${significant(low)} to ${significant(high)}; lower is better).`,
    ...(plan.best.length > 1 ? [`Of one kind: ${inWords(plan.single)}, ${times(plan.single)} times that.`] : []),
    `All longest: ${times(plan.longest)} times that; all shortest: ${times(plan.shortest)} times.`,
    `Exposures of ${inUnits(plan.flat[0])} to ${inUnits(plan.flat[1])} are within 1% of the best single one.`,
    own[0].count ? `Your own: ${inWords(own)}, noise ${significant(sigmaOf(machine, state.exposure))}, ${times(own)} times.` : "Your own: the budget buys no such image.",
  ];
  document.getElementById("detail").textContent = sentences.join(" ");
  const total = plan.best.reduce((sum, i) => sum + i.count, 0);
  const warnings = [...data.beyond];
  if (total > data.seen[1] || total < data.seen[0]) {
    warnings.push(`${total.toLocaleString("en")} images; the observed models have ${data.seen.map((n) => n.toLocaleString("en")).join(" to ")}`);
  }
  document.getElementById("warning").textContent = warnings.length ? `Beyond what was observed: ${warnings.join("; ")}; the law may not hold there.` : "";
}

function draw() {
  const machine = machineOf(), plan = bestExposures(data.law, machine, state.budget);
  svg.replaceChildren();
  if (plan === null) {
    document.getElementById("answer").textContent = "The budget buys no image.";
    document.getElementById("detail").textContent = `One of the shortest exposure costs ${inUnits(costOf(machine, machine.least))}.`;
    document.getElementById("warning").textContent = "";
    return;
  }
  tell(machine, plan);
  const [first, last] = ends.map(Math.log10), width = last - first || 1;
  const shareOf = (t) => (Math.log10(t) - first) / width;
  const shown = exposuresOf(machine).map((t) => ({ exposure: t, count: mostImages(machine, state.budget, t) })).filter((i) => i.count > 0);
  const qualities = shown.map((i) => qualityOfChoice(data.law, machine, [i]));
  const bands = shown.map((i) => interval(machine, [i]));
  const best = qualityOfChoice(data.law, machine, plan.best);
  // Where images are so few that the law is far beyond its range, the curve leaves the figure.
  const most = Math.min(Math.max(...qualities, ...bands.map((b) => b[1])), 20 * best), least = Math.min(best, ...bands.map((b) => b[0]));
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((share) => [share, significant(10 ** (first + share * width), 2)]);
  const { x, y, add, grid, curve } = makeFigure(svg, least, most, ticks, `exposure (${unit})`);
  const inside = (q) => Math.min(q, most);
  grid();
  curve(shown.map((i) => shareOf(i.exposure)), qualities.map(inside), bands.map((b) => inside(b[0])), bands.map((b) => inside(b[1])));
  if (plan.best.length > 1) add("line", { class: "mix", x1: x(shareOf(plan.best[0].exposure)), x2: x(shareOf(plan.best[1].exposure)), y1: y(best), y2: y(best) });
  for (const i of plan.best) add("circle", { class: "best", cx: x(shareOf(i.exposure)), cy: y(best), r: 6 });
  const count = mostImages(machine, state.budget, state.exposure);
  if (count) {
    const q = inside(qualityOfChoice(data.law, machine, [{ exposure: state.exposure, count }]));
    add("circle", { class: "own", cx: x(shareOf(state.exposure)), cy: y(q), r: 6 });
  }
}

makeSliders(document.getElementById("controls"), controls, state, draw);
draw();
