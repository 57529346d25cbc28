// Before anything is drawn: the theme that was chosen here before, if one was.
"use strict";
(() => {
  const KEY = "weir-theme";
  const CHOICES = ["auto", "light", "dark"];
  const stored = () => {
    try {
      return localStorage.getItem(KEY);
    } catch {
      return null; // Storage may be forbidden: the choice then lasts as long as the page.
    }
  };
  let choice = CHOICES.includes(stored()) ? stored() : "auto";
  const apply = () => {
    if (choice === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = choice;
    document.dispatchEvent(new Event("themechange"));
  };
  apply();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", apply);
  document.addEventListener("DOMContentLoaded", () => {
    const text = document.getElementById("theme-text");
    text.textContent = choice;
    document.getElementById("theme").addEventListener("click", () => {
      choice = CHOICES[(CHOICES.indexOf(choice) + 1) % CHOICES.length];
      text.textContent = choice;
      try {
        localStorage.setItem(KEY, choice);
      } catch {
        // As above.
      }
      apply();
    });
  });
})();
