"use strict";
// Loads the page again when the server has another version of it; never while someone is busy in it.
(() => {
  const EVERY = 2000;
  const shown = document.currentScript.dataset.version;

  const isBusy = () =>
    document.hidden ||
    document.querySelector("dialog[open]") !== null ||
    document.activeElement?.matches("textarea, input:not([type=checkbox], [type=radio])") ||
    !getSelection().isCollapsed;

  const look = async () => {
    try {
      const answer = await fetch("/version", { cache: "no-store" });
      if (answer.ok && (await answer.text()) !== shown && !isBusy()) {
        location.reload(); // the browser keeps the place
        return;
      }
    } catch {
      // The server has ended, or does not answer now.
    }
    setTimeout(look, EVERY);
  };

  setTimeout(look, EVERY);
})();
