// Tables sort by a column: best first, then the other way round, then as they were. What has no number stays last.
const NEXT = { down: ["descending", "ascending"], up: ["ascending", "descending"] };
const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

/** The value a cell sorts by: a number, a text, or null. */
function valueOf(cell) {
  const value = cell?.dataset.value;
  if (value === undefined) return null;
  return cell.tagName === "TH" ? value : Number(value);
}

function compareValues(one, other, sign) {
  if (one === null || other === null) return (one === null) - (other === null);
  return sign * (typeof one === "string" ? collator.compare(one, other) : one - other);
}

function sortTable(table, head) {
  const order = NEXT[head.dataset.first];
  const now = order[order.indexOf(head.getAttribute("aria-sort")) + 1] ?? null;
  for (const other of all("th[aria-sort]", table.tHead)) other.removeAttribute("aria-sort");
  if (now) head.setAttribute("aria-sort", now);
  const body = table.tBodies[0], column = head.cellIndex, sign = now === "descending" ? -1 : 1;
  const rows = [...body.rows].filter((row) => !row.classList.contains("more"));
  rows.forEach((row, place) => { row.dataset.place ??= place; });
  const values = new Map(rows.map((row) => [row, valueOf(row.cells[column])]));
  const inOrder = (a, b) => a.dataset.place - b.dataset.place;
  rows.sort((a, b) => (now && compareValues(values.get(a), values.get(b), sign)) || inOrder(a, b));
  body.append(...rows.flatMap((row) => (row.panel ? [row, row.panel] : [row])));
  announce(now ? `sorted by ${head.textContent}, ${now}` : "in the order of ranks");
}

/** Heads become buttons, which the keyboard reaches; without a script they are plain heads. */
function addSorting(table) {
  for (const head of table.tHead.rows[0].cells) {
    if (!head.dataset.first) continue;
    const button = make("button", { type: "button" }, ...head.childNodes);
    button.addEventListener("click", () => sortTable(table, head));
    head.append(button);
  }
}
