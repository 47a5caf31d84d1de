// A row opens to what lies behind it. Data of a condition are read when its first row opens.
const read = new WeakMap();
let panels = 0;

/** Series stand in the page as whole ten-thousandths. */
const unpacked = (series) => series.map((value) => (value == null ? null : value / 10_000));

function unpack(row) {
  for (const [name, band] of Object.entries(row.curves ?? {})) row.curves[name] = band.map(unpacked);
  if (row.recall) row.recall = row.recall.map(unpacked);
  if (row.detection) row.detection = [unpacked(row.detection[0]), row.detection[1].map(unpacked), row.detection[2]];
  if (row.calibration) row.calibration = row.calibration.map(unpacked);
  return row;
}

function dataOf(section) {
  if (!read.has(section)) {
    const data = JSON.parse(section.querySelector(":scope > script").textContent);
    data.rows.forEach(unpack);
    read.set(section, data);
  }
  return read.get(section);
}

function facts(row) {
  const list = make("dl", { class: "told" });
  const tell = (name, ...value) => list.append(make("dt", {}, name), make("dd", {}, ...value));
  const cost = row.seeds?.length ? costs(row) : null;
  if (cost) tell("cost of a run", cost);
  tell("seeds", row.used.length ? row.used.join(", ") : "none");
  if (row.keys.length) tell("runs", make("code", {}, row.keys.join(" ")));
  if (row.command) tell("repeat", make("code", {}, row.command));
  if (row.versions?.length) tell("versions", row.versions.join("; "));
  if (row.reasons?.length) tell("why", row.reasons.join("; "));
  if (row.missing?.length) tell("not read", row.missing.join("; "));
  return list;
}

function panelOf(section, tr) {
  const data = dataOf(section), row = data.rows[Number(tr.dataset.row)];
  const inside = make("div", { class: "inside", role: "group", "aria-label": `Details of ${row.method}, ${data.where}` });
  inside.style.setProperty("--m", row.colour);
  if (row.seeds?.length) {
    const charts = [
      learning(row, data.metric), fitting(row), confusionMatrix(row), topConfusions(row), recallBars(row), wrongLabels(row),
      reliability(row),
    ].filter(Boolean);
    for (const chart of charts) chart.classList.add("mine");
    if (charts.length) inside.append(make("div", { class: "charts" }, ...charts));
  } else {
    inside.append(make("p", {}, "There are no files of these runs to draw from."));
  }
  inside.append(facts(row));
  const cell = make("td", { class: "inner", colspan: tr.cells.length }, inside);
  return make("tr", { class: "more", id: `panel-${(panels += 1)}` }, cell);
}

function toggleRow(section, tr, button) {
  if (tr.panel) {
    tr.panel.remove();
    tr.panel = null;
    button.removeAttribute("aria-controls");
  } else {
    tr.panel = panelOf(section, tr);
    tr.after(tr.panel);
    button.setAttribute("aria-controls", tr.panel.id);
  }
  button.setAttribute("aria-expanded", String(Boolean(tr.panel)));
}

function addDetails(section) {
  for (const tr of section.querySelector("tbody").rows) {
    const name = tr.cells[0].dataset.value;
    const button = make("button", { type: "button", class: "toggle", "aria-expanded": "false", "aria-label": `Details of ${name}` });
    button.addEventListener("click", () => toggleRow(section, tr, button));
    tr.toggle = () => toggleRow(section, tr, button);
    tr.opener = button;
    tr.cells[0].querySelector(".name").prepend(button);
    tr.cells[0].addEventListener("click", (event) => {  // the name is where a pointer goes; who marks it to copy it wants no more
      if (!event.target.closest("button") && !getSelection().toString()) tr.toggle();
    });
  }
}

/** Escape closes what it is pressed in: the row's details, a gallery, the choice of columns. */
function closeOnEscape(event) {
  if (event.key !== "Escape") return;
  const row = event.target.closest?.("tr");
  const owner = row?.classList.contains("more") ? row.previousElementSibling : row;
  const fold = event.target.closest?.("details[open]");
  const menu = document.querySelector(".menu[open]");
  if (fold || menu) {
    (fold ?? menu).open = false;
    (fold ?? menu).querySelector("summary").focus();
  } else if (owner?.panel) {
    owner.toggle();
    owner.opener.focus();
  }
}

function closeMenuOutside(event) {
  const menu = document.querySelector(".menu[open]");
  if (menu && !menu.contains(event.target)) menu.open = false;
}

document.addEventListener("DOMContentLoaded", () => {
  addThemeButton();
  for (const table of all("table.grid")) addSorting(table);
  for (const section of all(".condition")) addDetails(section);
  addTools();
  document.addEventListener("keydown", closeOnEscape);
  document.addEventListener("click", closeMenuOutside);
});
