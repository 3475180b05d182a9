// Light or dark, before anything is drawn: this is no module, so that the page waits for it.
(() => {
  const kept = "desk.theme";
  const apply = (theme) => {
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
  };
  const read = () => {
    try {
      return localStorage.getItem(kept) ?? "system";
    } catch {
      return "system"; // storage is forbidden
    }
  };
  apply(read());
  document.addEventListener("DOMContentLoaded", () => {
    const choice = document.getElementById("theme");
    if (!choice) return;
    choice.value = read();
    choice.addEventListener("change", () => {
      apply(choice.value);
      try {
        localStorage.setItem(kept, choice.value);
      } catch {
        // It holds until the page is left.
      }
    });
  });
})();
