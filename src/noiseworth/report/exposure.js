// noiseworth.laws.exposure in the browser: the same computation, explained there. A law is { unit, E, terms }, with terms of
// { A, alpha, s0, q } and, where what images do not teach is bounded, n0; a machine holds the keys of an instrument, a number for each (objects: Infinity where there are as many as wanted).
const EXPOSURES = 60, SPLITS = 50, PAYS = 1e-3, FLAT = 1.01, ROUNDING = 1e-12, FEWEST = 1e-6;

function sigmaOf(machine, t) {
  if (machine.kind !== "camera") return machine.sigma / Math.sqrt(t);
  const reads = machine.each_read === null ? 1 : Math.max(t / machine.each_read, 1);
  const variance = t * (machine.white * machine.mean + machine.dark) + reads * machine.read_noise ** 2;
  return (2 * Math.sqrt(variance)) / (machine.white * t);
}
const costOf = (machine, t) => t + machine.overhead;

// Half a unit is rounded to even, as numpy does.
function toWhole(x) {
  const low = Math.floor(x), rest = x - low;
  return rest > 0.5 || (rest === 0.5 && low % 2 === 1) ? low + 1 : low;
}

function exposuresOf(machine) {
  const ends = [Math.log10(machine.least), Math.log10(machine.most)], all = [];
  for (let i = 0; i < EXPOSURES; i++) {
    let t = 10 ** (ends[0] + (i / (EXPOSURES - 1)) * (ends[1] - ends[0]));
    if (i === 0) t = machine.least;
    if (i === EXPOSURES - 1) t = machine.most;
    if (machine.kind === "averages") t = toWhole(t);
    if (t !== all[all.length - 1]) all.push(t);
  }
  return all;
}

const rateAt = (term, sigma) => 1 / (1 + (sigma / term.s0) ** term.q);

// Quality of `taken`, a list of [rates by term, number of images].
function qualityOf(law, taken) {
  return law.terms.reduce((q, term, k) => {
    const worth = taken.reduce((sum, [rates, count]) => sum + rates[k] * count, 0);
    const count = Math.max(worth / law.unit, FEWEST);
    return q + (term.n0 ? term.A / (1 + (count / term.n0) ** term.alpha) : term.A * count ** -term.alpha);
  }, law.E);
}

const mostImages = (machine, budget, t) => Math.min(Math.floor((budget / costOf(machine, t)) * (1 + ROUNDING)), machine.objects);
const ratesAt = (law, machine, t) => law.terms.map((term) => rateAt(term, sigmaOf(machine, t)));
const qualityOfChoice = (law, machine, images) => qualityOf(law, images.map((i) => [ratesAt(law, machine, i.exposure), i.count]));

function splitsOf(machine, budget, pair) {
  const costs = pair.map((t) => costOf(machine, t));
  const shares = Array.from({ length: SPLITS + 1 }, (_, i) => i / SPLITS);
  if (Number.isFinite(machine.objects) && costs[1] * machine.objects > budget && budget >= costs[0] * machine.objects) {
    const ofShort = (costs[1] * machine.objects - budget) / (costs[1] - costs[0]);
    shares.push((Math.ceil(ofShort) * costs[0]) / budget);
  }
  return shares
    .map((share) => [share, 1 - share].map((part, k) => Math.floor(((part * budget) / costs[k]) * (1 + ROUNDING))))
    .filter(([a, b]) => a > 0 && b > 0 && a + b <= machine.objects);
}

// The best choice, the best of one exposure, and those of the longest and the shortest: lists of { exposure, count }; null if none can be paid.
function bestExposures(law, machine, budget) {
  const exposures = exposuresOf(machine), rates = exposures.map((t) => ratesAt(law, machine, t));
  const counts = exposures.map((t) => mostImages(machine, budget, t));
  const qualities = counts.map((n, i) => (n > 0 ? qualityOf(law, [[rates[i], n]]) : Infinity));
  const one = (i) => [{ exposure: exposures[i], count: counts[i] }];
  const paid = exposures.map((_, i) => i).filter((i) => counts[i] > 0);
  if (!paid.length) return null;
  const least = Math.min(...qualities), single = one(qualities.indexOf(least));
  let best = single, bestOfTwo = Infinity;
  for (let a = 0; a < exposures.length - 1; a++) {
    for (let b = a + 1; b < exposures.length; b++) {
      for (const [n, m] of splitsOf(machine, budget, [exposures[a], exposures[b]])) {
        const q = qualityOf(law, [[rates[a], n], [rates[b], m]]);
        if (q >= bestOfTwo) continue;
        bestOfTwo = q;
        if (q < (1 - PAYS) * least) best = [{ exposure: exposures[a], count: n }, { exposure: exposures[b], count: m }];
      }
    }
  }
  const flat = exposures.filter((_, i) => qualities[i] <= FLAT * least);
  return { best, single, longest: one(paid[paid.length - 1]), shortest: one(paid[0]), flat: [flat[0], flat[flat.length - 1]] };
}
