// Which rows and columns are shown.
const state = { search: "", set: "", noise: "", plugin: "", incomplete: false, oracle: false, intervals: false };
let rows = [], ways = [];

/** Every row of a condition with what it is searched by. */
function readRows() {
  for (const section of all(".condition")) {
    const { set, noise } = section.dataset;
    for (const row of section.querySelector("tbody").rows) {
      const words = folded(`${row.cells[0].textContent} ${set} ${noise}`);
      rows.push({ row, section, words, set, noise, plugin: row.dataset.plugin, flags: row.dataset.flags ?? "" });
    }
  }
}

function applyFilters() {
  const asked = folded(state.search).split(/\s+/).filter(Boolean);
  const shown = new Map(rows.map(({ section }) => [section, 0]));
  let count = 0;
  for (const { row, section, words, set, noise, plugin, flags } of rows) {
    const keep = asked.every((word) => words.includes(word))
      && (!state.set || set === state.set) && (!state.noise || noise === state.noise) && (!state.plugin || plugin === state.plugin)
      && !(state.incomplete && flags.includes("incomplete")) && !(state.oracle && flags.includes("oracle"));
    row.hidden = !keep;
    if (row.panel) row.panel.hidden = !keep;
    if (keep) {
      count += 1;
      shown.set(section, shown.get(section) + 1);
    }
  }
  for (const [section, kept] of shown) section.hidden = kept === 0;
  for (const set of all(".set, .task")) set.hidden = all(".condition", set).every((section) => section.hidden);
  for (const [item, target] of ways) item.hidden = target.hidden;
  root.classList.toggle("intervals", state.intervals);
  document.getElementById("empty").hidden = count > 0 || rows.length === 0;
  announce(`${count} of ${rows.length} rows`);
}

/** A tick for each column of each task; the first column always stays. */
function addColumns(tools) {
  const panel = make("div", { class: "panel" });
  addTick(panel, "intervals", "95 % intervals below the means");
  const tasks = all(".task").filter((task) => task.querySelector(".condition"));
  for (const task of tasks) {
    const usual = task.dataset.hide;
    const set = make("fieldset", {}, make("legend", {}, tasks.length > 1 ? `Columns: ${task.dataset.task}` : "Columns"));
    const ticks = [];
    const hide = () => { task.dataset.hide = ticks.filter(([tick]) => !tick.checked).map(([, place]) => place).join(" "); };
    const heads = [...task.querySelector("thead tr").cells].slice(1);
    heads.forEach((head, position) => {
      const tick = make("input", { type: "checkbox" });
      tick.checked = !usual.split(" ").includes(String(position + 2));
      tick.addEventListener("change", hide);
      ticks.push([tick, position + 2]);
      set.append(make("label", { class: "tick" }, tick, head.textContent));
    });
    const choose = (title, wanted) => {
      const button = make("button", { type: "button", class: "button" }, title);
      button.addEventListener("click", () => {
        for (const [tick, place] of ticks) tick.checked = wanted(place);
        hide();
      });
      return button;
    };
    const usually = choose("Usual", (place) => !usual.split(" ").includes(String(place)));
    set.append(make("div", { class: "choices" }, choose("All", () => true), usually));
    panel.append(set);
  }
  if (tasks.length) tools.append(make("details", { class: "menu" }, make("summary", { class: "button" }, "Columns"), panel));
}

function addTools() {
  const tools = document.getElementById("tools");
  readRows();
  const of = (key) => [...new Set(rows.map((row) => row[key]))].sort(collator.compare);
  addSearch(tools, "method, data, noise");
  addChoice(tools, "set", "Data set", of("set"));
  addChoice(tools, "noise", "Noise", of("noise"));
  const plugins = of("plugin");
  const names = new Set(rows.map(({ row }) => row.cells[0].dataset.value));
  if (plugins.length < names.size) addChoice(tools, "plugin", "Method family", plugins);
  addColumns(tools);
  if (rows.some(({ flags }) => flags.includes("incomplete"))) addTick(tools, "incomplete", "Hide incomplete");
  if (rows.some(({ flags }) => flags.includes("oracle"))) addTick(tools, "oracle", "Hide oracle-informed");
  tools.append(make("div", { class: "status", id: "status", role: "status" }));
  tools.after(make("p", { class: "note empty", id: "empty", hidden: true }, "No row fits. Take something out of the search."));
  const links = all(".contents a").map((link) => [link.parentElement, document.getElementById(link.hash.slice(1))]);
  ways = links.filter(([, target]) => target?.matches(".condition, .set, .task"));
  window.addEventListener("hashchange", takeAddress);
  readAddress();
  applyFilters();
}
