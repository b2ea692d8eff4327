// Runs before the first paint, so that a light window never flashes dark. The preference itself is kept by the host and
// read later; what is remembered here is only how the last window looked.
(function () {
  var look = null;
  try {
    look = localStorage.getItem("asgard.look");
  } catch {
    // Storage may be closed to the page; the desktop's own choice is used then.
  }
  if (look !== "light" && look !== "dark") {
    look = window.matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark";
  }
  document.documentElement.dataset.theme = look;
})();
