// Shows only some arms in the tables and panels: those whose name or group has the words that are typed, or those that
// are ticked. The reference stays.
(() => {
  const control = document.getElementById("filter");
  if (!control) return;
  control.hidden = false;
  const words = control.querySelector("input[type=search]");
  const boxes = [...control.querySelectorAll("input[type=checkbox]")];
  const line = document.getElementById("hidden-arms");
  const said = line.querySelector("[role=status]");
  const reset = line.querySelector("button");

  const show = () => {
    const hidden = new Set(boxes.filter((box) => !box.checked).map((box) => box.value));
    for (const part of document.querySelectorAll("[data-arm]")) part.hidden = hidden.has(part.dataset.arm);
    reset.hidden = !hidden.size;
    said.textContent = hidden.size ? line.dataset.text.replace("COUNT", hidden.size) : "";
    return hidden.size ? boxes.map((box) => box.value).filter((arm) => !hidden.has(arm)).join() : "";
  };

  const tick = (chosen) => {
    for (const box of boxes) box.checked = box.disabled || chosen(box);
    return show();
  };
  const choose = (chosen) => address.set("arms", tick(chosen));

  address.keep("arms", (text) => {
    const wanted = /^\d+(,\d+)*$/.test(text) ? new Set(text.split(",")) : null;
    words.value = "";
    return tick((box) => !wanted || wanted.has(box.value));
  });

  words.addEventListener("input", () => {
    const wanted = words.value.toLowerCase().split(/\s+/);
    choose((box) => wanted.every((word) => box.parentElement.textContent.toLowerCase().includes(word)));
  });
  control.addEventListener("change", (event) => {
    if (!boxes.includes(event.target)) return;
    words.value = "";
    choose((box) => box.checked);
  });
  document.addEventListener("click", (event) => {
    const name = event.target.closest("button")?.name;
    if (name !== "all-arms" && name !== "no-arms") return;
    words.value = "";
    choose(() => name === "all-arms");
    if (event.target === reset) words.focus({ preventScroll: true }); // it is gone
  });
})();
