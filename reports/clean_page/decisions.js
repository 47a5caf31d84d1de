// What a person decides of each sample. It is kept in this browser, and saved as a table that the option label_file reads.
const decisions = {};
const CHOICES = { right: "right", wrong: "wrong", unsure: "unsure" };

function readDecisions() {
  let found = {};
  try { found = JSON.parse(kept.get(data.key) ?? "{}") ?? {}; } catch { /* nothing was kept */ }
  for (const [i, [decision, label]] of Object.entries(found)) {
    if (data[i] && decision in CHOICES && (label === null || label in data.classes)) decisions[i] = [decision, label];
  }
}

/** Right and unsure keep the given label. Wrong takes what the sample looks like, until another class is chosen. */
function decide(i, decision, label) {
  const { given, suggested } = data[i];
  if (decision === null) delete decisions[i];
  else if (decision === "wrong") decisions[i] = [decision, label === undefined ? (suggested === given ? null : suggested) : label];
  else decisions[i] = [decision, given];
  kept.set(data.key, JSON.stringify(decisions));
  for (const sample of samples) if (sample.i === i) showDecision(sample);
  showProgress();
}

function showDecision({ figure, i }) {
  const [decision, label] = decisions[i] ?? [null, null];
  figure.dataset.decision = decision ?? "";
  for (const button of all(".decide button", figure)) button.setAttribute("aria-pressed", String(button.value === decision));
  const field = figure.querySelector(".decide select") ?? (decision === "wrong" ? addClasses(figure, i) : null);
  if (!field) return;
  field.hidden = decision !== "wrong";
  field.value = label ?? "";
}

/** The list of classes, made when it is first asked for. */
function addClasses(figure, i) {
  const field = make("select", { "aria-label": `Right class of ${data[i].path}` }, make("option", { value: "" }, "which class?"));
  data.classes.forEach((name, k) => { if (k !== data[i].given) field.append(make("option", { value: k }, name)); });
  field.addEventListener("change", () => decide(i, "wrong", field.value === "" ? null : Number(field.value)));
  figure.querySelector(".decide").append(field);
  return field;
}

function addDecisions() {
  for (const sample of samples) {
    const { figure, i } = sample;
    const set = make("div", { class: "decide", role: "group", "aria-label": `Decide on ${data[i].path}` });
    for (const [value, words] of Object.entries(CHOICES)) {
      const button = make("button", { type: "button", value, "aria-pressed": "false", "aria-label": `label is ${words}` }, words);
      button.addEventListener("click", () => decide(i, decisions[i]?.[0] === value ? null : value));
      set.append(button);
    }
    figure.append(set);
    showDecision(sample);
  }
}

/** A cell that no spreadsheet runs as a formula; quoted where it must be. */
function cell(value) {
  let words = String(value);
  if (/^[ \n]*[=+\-@\t\r]/.test(words)) words = `'${words}`;
  return /[",\n\r]/.test(words) ? `"${words.replaceAll('"', '""')}"` : words;
}

function decidedTable() {
  const lines = Object.entries(decisions).map(([i, [decision, label]]) => {
    const { path, given } = data[i];
    return [i, path, data.classes[given], decision, data.classes[label ?? given]].map(cell).join(",");
  });
  return `${["index,path,given,decision,label", ...lines].join("\n")}\n`;
}

function saveDecisions() {
  const address = URL.createObjectURL(new Blob(["\ufeff", decidedTable()], { type: "text/csv" }));
  const link = make("a", { href: address, download: "decisions.csv" });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}

function showProgress() {
  const counts = { right: 0, wrong: 0, unsure: 0 };
  for (const [decision] of Object.values(decisions)) counts[decision] += 1;
  const total = counts.right + counts.wrong + counts.unsure;
  document.getElementById("save").disabled = total === 0;
  document.getElementById("forget").disabled = total === 0;
  document.getElementById("progress").textContent = total
    ? `${total} decided: ${counts.right} right, ${counts.wrong} wrong, ${counts.unsure} unsure` : "nothing decided yet";
}

function addSaving(tools) {
  const save = make("button", { type: "button", class: "button", id: "save" }, "Save decisions");
  const forget = make("button", { type: "button", class: "button", id: "forget" }, "Clear");
  save.addEventListener("click", saveDecisions);
  forget.addEventListener("click", () => {
    if (!confirm("Forget all decisions that this browser keeps for these data?")) return;
    for (const i of Object.keys(decisions)) decide(Number(i), null);
  });
  tools.append(make("div", { class: "saving" }, save, forget, make("span", { id: "progress", role: "status" })));
  showProgress();
}
