// The pictures: which are shown.
const state = { search: "", given: "", suggested: "", kind: "", decision: "" };
const KINDS = { likely: "likely wrong", doubtful: "worth a look", hard: "hard" };
const DECIDED = { open: "not decided", right: "right", wrong: "wrong", unsure: "unsure" };
const data = {};
let samples = [];

function readSamples() {
  for (const [i, path, given, suggested] of data.samples) data[i] = { path, given, suggested };
  for (const figure of all(".sample")) {
    const i = Number(figure.dataset.i), { path, given, suggested } = data[i];
    const words = folded(`${path} ${data.classes[given]} ${data.classes[suggested]}`);
    samples.push({ figure, i, words, given: data.classes[given], suggested: data.classes[suggested], kind: figure.dataset.kind });
  }
}

/** Copies always stay: they stand in a chapter of their own. */
function applyFilters() {
  const asked = folded(state.search).split(/\s+/).filter(Boolean);
  let count = 0, total = 0;
  for (const { figure, i, words, given, suggested, kind } of samples) {
    if (kind === "copy") continue;
    const decision = decisions[i]?.[0] ?? "open";
    const keep = asked.every((word) => words.includes(word))
      && (!state.given || given === state.given) && (!state.suggested || suggested === state.suggested)
      && (!state.kind || KINDS[kind] === state.kind) && (!state.decision || DECIDED[decision] === state.decision);
    figure.hidden = !keep;
    total += 1;
    count += keep;
  }
  for (const part of [...all(".explorer .group"), ...all(".kind")]) {
    part.hidden = all(".sample", part).length > 0 && all(".sample:not([hidden])", part).length === 0;
  }
  document.getElementById("empty").hidden = count > 0 || total === 0;
  announce(`${count} of ${total} pictures`);
}

function addTools() {
  const tools = document.getElementById("tools");
  const own = samples.filter(({ kind }) => kind !== "copy");
  const of = (key) => [...new Set(own.map((sample) => sample[key]))].sort(collator.compare);
  addSearch(tools, "file or class");
  addChoice(tools, "given", "Labelled", of("given"));
  addChoice(tools, "suggested", "Looks like", of("suggested"));
  addChoice(tools, "kind", "State", of("kind").map((kind) => KINDS[kind]));
  if (own.length) addChoice(tools, "decision", "Decision", Object.values(DECIDED));
  addSaving(tools);
  tools.append(make("div", { class: "status", id: "status", role: "status" }));
  readAddress();
  applyFilters();
}
