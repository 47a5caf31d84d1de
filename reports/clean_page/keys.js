// The keyboard: arrows step through the pictures, a letter decides and goes on.
const LETTERS = { r: "right", w: "wrong", u: "unsure" };

const seen = () => samples.map(({ figure }) => figure).filter((figure) => figure.checkVisibility());

function focusOn(figure) {
  if (!figure) return;
  for (const other of all(".sample[tabindex='0']")) other.tabIndex = -1;
  figure.tabIndex = 0;
  figure.focus({ preventScroll: true });
  figure.scrollIntoView({ block: "nearest" });
}

function stepThrough(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, summary, .box, .tools")) return;
  const figure = event.target.closest(".sample");
  const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (by && (figure || event.target === document.body)) {
    const figures = seen();
    event.preventDefault();
    focusOn(figure ? figures[figures.indexOf(figure) + by] : figures[by > 0 ? 0 : figures.length - 1]);
  } else if (figure && LETTERS[event.key.toLowerCase()]) {
    const figures = seen();
    decide(Number(figure.dataset.i), LETTERS[event.key.toLowerCase()]);
    focusOn(figures[figures.indexOf(figure) + 1] ?? figure);
  } else if (figure && event.key === "Escape") {
    figure.focus();
  }
}

document.addEventListener("DOMContentLoaded", () => {
  Object.assign(data, JSON.parse(document.getElementById("data").textContent));
  addThemeButton();
  readSamples();
  readDecisions();
  addDecisions();
  for (const table of all("table.sorts")) addSorting(table);
  addTools();
  for (const { figure, i } of samples) figure.setAttribute("aria-label", `${data[i].path}, labelled ${data.classes[data[i].given]}`);
  samples.forEach(({ figure }, place) => { figure.tabIndex = place ? -1 : 0; });
  document.addEventListener("keydown", stepThrough);
});
