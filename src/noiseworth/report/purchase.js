// noiseworth.laws.purchase in the browser: the same computation, explained there. A law is { unit, E, terms }, with
// terms of { A, alpha, r }; an offer is { budget, clean_price, noisy_price, least, have_clean, have_noisy }.
const HALVINGS = 100, AROUND = 500, ROUNDING = 1e-12, TRIFLE = 1e-6, FEWEST = 1e-6;

const whole = (number) => Math.floor(number + Math.min(ROUNDING * number, TRIFLE));
const effective = (law, term, clean, noisy, column) =>
  Math.max(clean / law.unit + (noisy / law.unit) * term.r[column], FEWEST);

function quality(law, clean, noisy, column) {
  return law.terms.reduce((q, t) => q + t.A * effective(law, t, clean, noisy, column) ** -t.alpha, law.E);
}

function marginalWorth(law, clean, noisy, column) {
  const slopes = law.terms.map(
    (t) => Math.log(t.A * t.alpha) - (t.alpha + 1) * Math.log(effective(law, t, clean, noisy, column)),
  );
  const steepest = Math.max(...slopes);
  let all = 0, byNoisy = 0;
  law.terms.forEach((t, k) => {
    const weight = Math.exp(slopes[k] - steepest);
    all += weight;
    byNoisy += weight * t.r[column];
  });
  return byNoisy / all;
}

const mostClean = (offer) => whole(offer.budget / offer.clean_price);

function mostNoisy(offer, clean) {
  const paid = whole(Math.max(offer.budget - offer.clean_price * clean, 0) / offer.noisy_price);
  return Math.min(paid, whole((1 / offer.least - 1) * (offer.have_clean + clean)) - offer.have_noisy);
}

// The best number of clean images, were images divisible.
function balance(law, column, offer) {
  const ratio = offer.clean_price / offer.noisy_price, noisyPerClean = 1 / offer.least - 1;
  let low = Math.max(offer.budget / offer.noisy_price - noisyPerClean * offer.have_clean + offer.have_noisy, 0) / (noisyPerClean + ratio);
  let high = offer.budget / offer.clean_price;
  for (let i = 0; i < HALVINGS; i++) {
    const middle = (low + high) / 2;
    const noisy = offer.have_noisy + (offer.budget - offer.clean_price * middle) / offer.noisy_price;
    if (marginalWorth(law, offer.have_clean + middle, noisy, column) * ratio > 1) high = middle;
    else low = middle;
  }
  return low;
}

// The best purchase { clean, noisy, q }, in whole images; null if none is allowed.
function bestPurchase(law, column, offer) {
  const middle = whole(balance(law, column, offer)), most = mostClean(offer), candidates = [];
  for (let i = 0; i <= 2 * AROUND; i++) {
    const clean = middle + (i % 2 ? -1 : 1) * Math.ceil(i / 2);
    if (clean < 0 || clean > most || offer.have_clean + clean <= 0) continue;
    const noisy = mostNoisy(offer, clean);
    if (noisy < 0) continue;
    candidates.push({ clean, noisy, q: quality(law, offer.have_clean + clean, offer.have_noisy + noisy, column) });
  }
  const least = Math.min(...candidates.map((p) => p.q));
  return candidates.find((p) => p.q <= least * (1 + ROUNDING)) ?? null;
}
