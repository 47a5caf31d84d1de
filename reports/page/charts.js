// Axes and frames of the small charts: SVG made of elements, with a name that tells the main numbers.
const SVG = "http://www.w3.org/2000/svg";
const WIDE = 300, HIGH = 190;

function shape(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

const percent = (value, digits = 1) => (value == null ? "–" : `${(100 * value).toFixed(digits)} %`);
const known = (values) => values.filter((value) => value != null);

/** At most so many characters; what is too long loses its middle, for names in a row differ at their end. */
function short(text, most) {
  const letters = [...text], tail = Math.floor((most - 1) / 3);
  return letters.length > most ? `${letters.slice(0, most - 1 - tail).join("")}…${letters.slice(-tail).join("")}` : text;
}

const longest = (names) => Math.max(...names.map((name) => [...name].length));

/** A round step so that about `count` of them span `span`; whole: of a number that has no parts. */
function step(span, count, whole) {
  const raw = span / count, power = 10 ** Math.floor(Math.log10(raw));
  const found = [1, 2, 2.5, 5, 10].find((times) => times * power >= raw - 1e-12) * power;
  return whole ? Math.max(1, Math.ceil(found - 1e-9)) : found;
}

function ticksOf(low, high, count, whole) {
  const by = step(high - low || 1, count, whole), first = Math.ceil(low / by - 1e-9);
  const found = [];
  for (let place = first; place * by <= high + 1e-9; place += 1) found.push(Number((place * by).toPrecision(12)));
  return found;
}

/** A range that holds all shares with some air, inside [0, 1]. */
function rangeOf(values) {
  let low = Math.min(...values), high = Math.max(...values);
  const air = Math.max(0.02, 0.08 * (high - low));
  low = Math.max(0, low - air);
  high = Math.min(1, high + air);
  return [low, high];
}

/**
 * A card with a title and a chart.
 * about: title, note, says (its accessible name). draw: called with the svg.
 */
function card(about, draw, high = HIGH) {
  const svg = shape("svg", { viewBox: `0 0 ${WIDE} ${high}`, role: "img", "aria-label": `${about.title}: ${about.says}` });
  draw(svg);
  return make("div", { class: "chart" }, make("h5", {}, about.title, make("small", {}, about.note)), svg);
}

/**
 * Both axes with ticks and names; returns the functions from values to positions.
 * x, y: { range, title, write, count, whole }.
 */
function axes(svg, x, y, high = HIGH) {
  const left = 44, right = WIDE - 6, top = 8, bottom = high - 36;
  const scale = ([low, up], from, to) => (value) => from + ((value - low) / (up - low || 1)) * (to - from);
  const px = scale(x.range, left, right), py = scale(y.range, bottom, top);
  for (const value of ticksOf(...y.range, y.count ?? 4)) {
    svg.append(shape("line", { class: "rule", x1: left, x2: right, y1: py(value), y2: py(value) }));
    svg.append(shape("text", { x: left - 5, y: py(value) + 4, "text-anchor": "end" }, y.write(value)));
  }
  for (const value of ticksOf(...x.range, x.count ?? 5, x.whole)) {
    svg.append(shape("text", { x: px(value), y: bottom + 14, "text-anchor": "middle" }, x.write(value)));
  }
  svg.append(shape("line", { class: "axis", x1: left, x2: right, y1: bottom, y2: bottom }));
  svg.append(shape("text", { x: (left + right) / 2, y: high - 5, "text-anchor": "middle" }, x.title));
  const turned = `rotate(-90) translate(${-(top + bottom) / 2} 10)`;
  svg.append(shape("text", { transform: turned, "text-anchor": "middle" }, y.title));
  return { px, py, left, right, top, bottom };
}

/** The stretches of a series without holes, as lists of [x, …values]. */
function stretches(xs, ...series) {
  const found = [[]];
  xs.forEach((x, place) => {
    const values = series.map((each) => each[place]);
    if (values.some((value) => value == null)) found.push([]);
    else found.at(-1).push([x, ...values]);
  });
  return found.filter((points) => points.length);
}

const path = (points) => points.map(([x, y], place) => `${place ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");

/** A line with the range over seeds as a band; a lone point is a dot. */
function drawBand(svg, { px, py }, xs, [mean, low, high], kind) {
  for (const points of stretches(xs, low, high)) {
    const up = points.map(([x, , to]) => [px(x), py(to)]), down = points.map(([x, from]) => [px(x), py(from)]).reverse();
    svg.append(shape("path", { class: `band ${kind}`, d: `${path([...up, ...down])}Z` }));
  }
  for (const points of stretches(xs, mean)) {
    const [[x, y]] = points;
    if (points.length === 1) svg.append(shape("circle", { class: `block ${kind}`, cx: px(x), cy: py(y), r: 3 }));
    else svg.append(shape("path", { class: `line ${kind}`, d: path(points.map(([at, value]) => [px(at), py(value)])) }));
  }
}

/** Names of lines at their right ends and in the order of these: the lowest below its line, others above, or where there is room; apart. */
function nameLines(svg, { py, right, top, bottom }, lines) {
  const placed = [...lines].sort((a, b) => b.value - a.value).map(({ name, kind, value }, place) => {
    const y = py(value), above = y - 8, below = y + 17, last = place > 0 && place === lines.length - 1;
    return { name, kind, y: (last && below <= bottom - 4) || above < top + 8 ? below : above };
  });
  placed.forEach((each, place) => { each.y = Math.max(each.y, place ? placed[place - 1].y + 13 : top + 8); });
  let floor = bottom - 4;
  for (const each of placed.reverse()) {
    each.y = Math.min(each.y, floor);
    floor = each.y - 13;
    svg.append(shape("text", { class: `label ${each.kind}`, x: right - 2, y: each.y, "text-anchor": "end" }, each.name));
  }
}
