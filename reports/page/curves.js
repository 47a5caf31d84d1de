// The charts of a row; each returns a card, or null where there is nothing to draw.
const seedsOf = (row) => `${row.seeds.length} ${row.seeds.length === 1 ? "seed" : "seeds"}`;
const lastKnown = (values) => values.findLastIndex((value) => value != null);
const spread = ([mean, low, high], place) => `${percent(mean[place])} (${percent(low[place])} to ${percent(high[place])})`;

function drawCurves(row, title, note, measure, lines) {
  const there = lines.filter(({ key }) => row.curves[key] && lastKnown(row.curves[key][0]) >= 0);
  if (!there.length) return null;
  const xs = row.epochs, values = there.flatMap(({ key }) => row.curves[key].flatMap(known));
  const says = there.map(({ key, name }) => {
    const band = row.curves[key], end = lastKnown(band[0]);
    return `${name} ${spread(band, end)} after epoch ${xs[end]}`;
  });
  const chosen = row.selected != null && `selected epoch ${row.selected.toFixed(1).replace(/\.0$/, "")}`;
  return card({ title, note: `${note}, ${seedsOf(row)}${row.by > 1 ? `, every ${row.by} epochs` : ""}`, says: [...says, ...(chosen ? [chosen] : [])].join("; ") }, (svg) => {
    const range = [xs[0] ?? 0, Math.max(xs.at(-1) ?? 1, (xs[0] ?? 0) + 1)];
    const at = axes(svg, { range, title: "epoch", write: String, whole: true }, { range: rangeOf(values), title: `${measure}, %`, write: (v) => percent(v, 0).slice(0, -2) });
    if (chosen) {
      const x = at.px(row.selected);
      svg.append(shape("line", { class: "guide", x1: x, x2: x, y1: at.top, y2: at.bottom }, shape("title", {}, chosen)));
    }
    for (const { key, kind } of there) drawBand(svg, at, xs, row.curves[key], kind);
    nameLines(svg, at, there.map(({ key, name, kind }) => ({ name, kind, value: row.curves[key][0][lastKnown(row.curves[key][0])] })));
  });
}

const learning = (row, metric) => drawCurves(row, `Test ${metric} by epoch`, "mean and range, dashed: selected", metric, [
  { key: "validation", name: "noisy validation", kind: "other" },
  { key: "test", name: "test", kind: "mine" },
]);

const fitting = (row) => drawCurves(row, "Fit to the given labels", "predicted as labelled in training", "share", [
  { key: "fit_right", name: "right labels", kind: "well" },
  { key: "fit_wrong", name: "wrong labels", kind: "hurt" },
]);

function confusionMatrix(row) {
  const { counts, classes } = row;
  if (!counts?.length) return null;
  const K = counts.length, totals = counts.map((line) => line.reduce((sum, value) => sum + value, 0) || 1);
  const name = (place) => classes[place] ?? String(place);
  const right = counts.reduce((sum, line, place) => sum + line[place], 0) / totals.reduce((sum, value) => sum + value, 0);
  const most = Math.min(11, longest(counts.map((_, place) => name(place))));
  const left = 24 + 7 * most, top = 6, side = Math.min(36, (WIDE - left - 4) / K), high = top + side * K + 32 + 3.8 * most;
  const worst = (row.top ?? []).slice(0, 1).map(([from, to, share]) => `; most frequent: ${name(from)} taken for ${name(to)} ${percent(share)}`);
  const says = `${percent(right)} of ${totals.reduce((sum, value) => sum + value, 0)} test samples on the diagonal${worst}`;
  return card({ title: "Confusion matrix", note: `% of the true class, ${seedsOf(row)}`, says }, (svg) => {
    counts.forEach((line, from) => {
      const y = top + side * from;
      svg.append(shape("text", { x: left - 5, y: y + side / 2 + 4, "text-anchor": "end" }, short(name(from), 11), shape("title", {}, name(from))));
      const foot = `translate(${left + side * (from + 0.5) + 3} ${top + side * K + 8}) rotate(-40)`;
      svg.append(shape("text", { transform: foot, "text-anchor": "end" }, short(name(from), 11), shape("title", {}, name(from))));
      line.forEach((count, to) => {
        const share = count / totals[from], x = left + side * to;
        const shade = `calc(${Math.min(1, share).toFixed(3)} * var(--deep))`;
        const cell = shape("rect", { x: x + 0.5, y: y + 0.5, width: side - 1, height: side - 1, rx: 2 });
        cell.style.fill = `color-mix(in oklab, var(--${from === to ? "good" : "bad"}) ${shade}, var(--soft))`;
        cell.append(shape("title", {}, `${name(from)} → ${name(to)}: ${count} (${percent(share)})`));
        svg.append(cell);
        const written = (100 * share).toFixed(0);
        const ink = shape("text", { x: x + side / 2, y: y + side / 2 + 3.5, "text-anchor": "middle" }, written === "0" ? "·" : written);
        ink.style.cssText = `font-size: ${Math.min(11, side * 0.5).toFixed(1)}px; fill: var(--fg)`;
        svg.append(ink);
      });
    });
    svg.append(shape("text", { x: left + (side * K) / 2, y: high - 2, "text-anchor": "middle" }, "predicted class"));
    svg.append(shape("text", { transform: `rotate(-90) translate(${-(top + side * K / 2)} 9)`, "text-anchor": "middle" }, "true class"));
  }, high);
}

/** Where there are too many classes for a matrix. */
function topConfusions(row) {
  if (row.counts || !row.top?.length) return null;
  const list = make("ol");
  for (const [from, to, share] of row.top.slice(0, 10)) {
    list.append(make("li", {}, `${row.classes[from] ?? from} taken for ${row.classes[to] ?? to}: ${percent(share)}`));
  }
  return make("div", { class: "chart" }, make("h5", {}, "Most frequent confusions", make("small", {}, `of the true class, ${seedsOf(row)}`)), list);
}

const MOST_BARS = 14;

function recallBars(row) {
  if (!row.recall) return null;
  const [mean, low, high] = row.recall;
  let order = mean.map((_, place) => place).filter((place) => mean[place] != null);
  if (!order.length) return null;
  const every = order.length, cut = every > MOST_BARS;
  if (cut) order = order.sort((a, b) => mean[a] - mean[b]).slice(0, MOST_BARS);
  const name = (place) => row.classes[place] ?? String(place), tall = 17, foot = 36, tallness = 10 + order.length * tall + foot;
  const worst = order.reduce((least, place) => (mean[place] < mean[least] ? place : least));
  const says = `lowest ${name(worst)} ${spread(row.recall, worst)}, of ${every} classes`;
  const note = `${cut ? `the worst ${MOST_BARS} of ${every}, ` : ""}mean and range, ${seedsOf(row)}`;
  return card({ title: "Recall by class", note, says }, (svg) => {
    const left = 12 + 6.8 * Math.min(14, longest(order.map(name))), right = WIDE - 34, bottom = 6 + order.length * tall, px = (value) => left + value * (right - left);
    for (const value of [0, 0.25, 0.5, 0.75, 1]) {
      svg.append(shape("line", { class: "rule", x1: px(value), x2: px(value), y1: 4, y2: bottom }));
      svg.append(shape("text", { x: px(value), y: bottom + 14, "text-anchor": "middle" }, String(100 * value)));
    }
    order.forEach((place, line) => {
      const y = 6 + line * tall, middle = y + tall / 2;
      svg.append(shape("text", { x: left - 5, y: middle + 4, "text-anchor": "end" }, short(name(place), 14), shape("title", {}, name(place))));
      svg.append(shape("rect", { class: "block mine", opacity: 0.75, x: left, y: y + 3, width: Math.max(0.5, px(mean[place]) - left), height: tall - 6, rx: 1.5 }));
      if (low[place] != null && high[place] > low[place]) {
        svg.append(shape("path", { class: "axis strong", style: "stroke: var(--fg)", d: `M${px(low[place])} ${middle}H${px(high[place])}` }));
      }
      svg.append(shape("text", { class: "strong", x: right + 5, y: middle + 4 }, (100 * mean[place]).toFixed(1)));
    });
    svg.append(shape("text", { x: (left + right) / 2, y: bottom + 29, "text-anchor": "middle" }, "recall, % of the true class"));
  }, tallness);
}

function wrongLabels(row) {
  if (!row.detection) return null;
  const [recall, precision, chance] = row.detection;
  if (!known(precision[0]).length) return null;
  const half = recall.findIndex((value) => value >= 0.5), told = half >= 0 && precision[0][half] != null;
  const says = `${told ? `precision ${spread(precision, half)} at recall ${percent(recall[half], 0)}, ` : ""}chance ${percent(chance)}`;
  return card({ title: "Finding wrong labels", note: `dashed: chance, ${seedsOf(row)}`, says }, (svg) => {
    const whole = (value) => String(Math.round(100 * value));
    const at = axes(svg, { range: [0, 1], title: "recall of wrong labels, %", write: whole }, { range: [0, 1], title: "precision, %", write: whole });
    if (chance != null) svg.append(shape("line", { class: "guide", x1: at.left, x2: at.right, y1: at.py(chance), y2: at.py(chance) }));
    drawBand(svg, at, recall, precision, "mine");
  });
}

function reliability(row) {
  if (!row.calibration) return null;
  const [edges, confidence, accuracy, share] = row.calibration;
  const gap = accuracy.reduce((sum, value, bin) => (value == null ? sum : sum + share[bin] * Math.abs(value - confidence[bin])), 0);
  const over = accuracy.reduce((sum, value, bin) => (value == null ? sum : sum + share[bin] * (confidence[bin] - value)), 0);
  const says = `mean gap between confidence and accuracy ${percent(gap)}, ${over > 0 ? "over" : "under"}confident by ${percent(Math.abs(over))}`;
  return card({ title: "Calibration", note: `red: gap ${percent(gap)}, ${row.seeds.length > 1 ? `${seedsOf(row)} together` : "1 seed"}`, says }, (svg) => {
    const whole = (value) => String(Math.round(100 * value));
    const at = axes(svg, { range: [0, 1], title: "confidence, %", write: whole }, { range: [0, 1], title: "accuracy, %", write: whole });
    accuracy.forEach((value, bin) => {
      if (value == null) return;
      const x = at.px(edges[bin]) + 1, width = Math.max(1, at.px(edges[bin + 1]) - at.px(edges[bin]) - 2);
      const told = shape("title", {}, `${whole(edges[bin])}–${whole(edges[bin + 1])} %: accuracy ${percent(value)}, confidence ${percent(confidence[bin])}, ${percent(share[bin])} of samples`);
      svg.append(shape("rect", { class: "block mine", opacity: 0.75, x, width, y: at.py(value), height: at.bottom - at.py(value) }, told));
      const [upper, lower] = [Math.max(value, confidence[bin]), Math.min(value, confidence[bin])];
      const gapped = { x, width, y: at.py(upper), height: at.py(lower) - at.py(upper) };
      svg.append(shape("rect", { class: "ground", ...gapped }), shape("rect", { class: "gap", ...gapped }));
      svg.append(shape("line", { class: "line mine", x1: x, x2: x + width, y1: at.py(value), y2: at.py(value) }));
    });
    svg.append(shape("line", { class: "guide", x1: at.px(0), y1: at.py(0), x2: at.px(1), y2: at.py(1) }));
  });
}

const COSTS = {
  seconds: ["time", (v) => (v < 120 ? `${v.toPrecision(3)} s` : v < 7200 ? `${(v / 60).toFixed(1)} min` : `${(v / 3600).toFixed(1)} h`)],
  samples_per_second: ["samples per second", (v) => Math.round(v).toLocaleString("en")],
  peak_memory_mb: ["peak memory", (v) => `${Math.round(v).toLocaleString("en")} MB`],
  gpu_peak_memory_mb: ["peak memory of the GPU", (v) => `${Math.round(v).toLocaleString("en")} MB`],
  parameters: ["parameters", (v) => Math.round(v).toLocaleString("en")],
};

/** What a run takes, in a line; null where nobody has measured it. */
function costs(row) {
  const known = Object.entries(row.cost).filter(([key, value]) => COSTS[key] && value != null);
  return known.length ? `${known.map(([key, value]) => `${COSTS[key][0]} ${COSTS[key][1](value)}`).join(" · ")} (mean, ${seedsOf(row)})` : null;
}
