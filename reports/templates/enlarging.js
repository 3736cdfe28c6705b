// Opens a figure in a dialog as large as the window. The figure itself moves there and back: a copy would have every
// id twice.
(() => {
  const dialog = document.getElementById("enlarged");
  let shown = null; // figure and what holds its place meanwhile

  const enlarge = (figure) => {
    const { width, height } = figure.querySelector("svg, img").getBoundingClientRect();
    const holder = figure.cloneNode(false);
    holder.removeAttribute("id");
    holder.style.height = `${figure.offsetHeight}px`;
    figure.style.setProperty("--ratio", width / height);
    figure.replaceWith(holder);
    dialog.append(figure);
    shown = { figure, holder };
    dialog.showModal();
  };

  const putBack = () => {
    if (!shown) return;
    const { figure, holder } = shown;
    shown = null;
    holder.replaceWith(figure);
    dialog.close();
    figure.querySelector("button").focus({ preventScroll: true });
  };

  for (const offer of document.querySelectorAll(".enlarge")) offer.hidden = false;
  document.addEventListener("click", (event) => {
    const figure = event.target.closest("figure");
    if (shown) {
      if (!event.target.closest("figcaption")) putBack(); // its words can be selected
    } else if (figure && event.target.closest("svg, img, button")) enlarge(figure);
  });
  dialog.addEventListener("close", putBack);
  addEventListener("beforeprint", putBack);
})();

address.follow();
