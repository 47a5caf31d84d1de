// Elements, and the theme: before the body is read, so that a chosen theme does not flash.
const root = document.documentElement;
root.classList.add("js");

/** A new element; children that are texts become text, never markup. */
function make(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

function fill(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(key, "");
    else if (value !== false && value != null) element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

const all = (selector, within = document) => [...within.querySelectorAll(selector)];

const THEMES = ["auto", "light", "dark"];

/** What is kept between visits; a page opened as a file may have no storage, and then nothing is kept. */
const kept = {
  get(key) {
    try { return localStorage.getItem(key); } catch { return null; }
  },
  set(key, value) {
    try { localStorage.setItem(key, value); } catch { /* not kept */ }
  },
};

let theme = "auto";

function setTheme(name) {
  theme = THEMES.includes(name) ? name : "auto";
  if (theme === "auto") root.removeAttribute("data-theme");
  else root.setAttribute("data-theme", theme);
}

setTheme(kept.get("theme"));

function addThemeButton() {
  const button = make("button", { type: "button", class: "button", id: "theme" });
  const show = () => {
    button.textContent = `Theme: ${theme}`;
  };
  button.addEventListener("click", () => {
    setTheme(THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length]);
    kept.set("theme", theme);
    show();
  });
  show();
  document.getElementById("bar").append(button);
}

/** Says something to those who do not see it change. */
function announce(words) {
  document.getElementById("status").textContent = words;
}
