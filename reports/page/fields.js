// Fields that choose what is shown. The page has `state`, key → value, and `applyFilters`; the state stands in the address, so that a view
// can be sent to someone.
const fields = {};

const folded = (text) => text.normalize("NFKC").toLowerCase();

function writeAddress() {
  const set = Object.entries(state).filter(([, value]) => value).map(([key, value]) => [key, value === true ? "1" : value]);
  try {
    history.replaceState(null, "", set.length ? `#?${new URLSearchParams(set)}` : "#");
  } catch { /* an address that cannot change */ }
}

function readAddress() {
  if (!location.hash.startsWith("#?")) return;
  const told = new URLSearchParams(location.hash.slice(2));
  for (const key of Object.keys(state)) {
    if (told.has(key)) state[key] = typeof state[key] === "boolean" ? told.get(key) === "1" : told.get(key);
  }
  for (const [key, field] of Object.entries(fields)) {
    if (field.type === "checkbox") field.checked = state[key];
    else field.value = state[key];
    if (field.value !== state[key] && field.type !== "checkbox") state[key] = field.value = "";
  }
}

/** A view that someone has sent, or the one before. */
function takeAddress() {
  if (!location.hash.startsWith("#?")) return;
  for (const key of Object.keys(state)) state[key] = typeof state[key] === "boolean" ? false : "";
  readAddress();
  applyFilters();
}

function changed(key, value) {
  state[key] = value;
  writeAddress();
  applyFilters();
}

function addSearch(tools, placeholder) {
  const field = make("input", { type: "search", id: "search", placeholder, autocomplete: "off", spellcheck: "false" });
  field.addEventListener("input", () => changed("search", field.value));
  fields.search = field;
  tools.append(make("div", {}, make("label", { for: "search" }, "Search"), field));
}

function addChoice(tools, key, title, values) {
  if (values.length < 2) return;
  const field = make("select", { id: `choice-${key}` }, make("option", { value: "" }, "all"));
  for (const value of values) field.append(make("option", { value }, value));
  field.addEventListener("change", () => changed(key, field.value));
  fields[key] = field;
  tools.append(make("div", {}, make("label", { for: field.id }, title), field));
}

function addTick(tools, key, title) {
  const field = make("input", { type: "checkbox", id: `tick-${key}` });
  field.addEventListener("change", () => changed(key, field.checked));
  fields[key] = field;
  tools.append(make("label", { class: "tick" }, field, title));
}
