"use strict";
// Sorts a table by a column at a click on its heading. The order is kept in the address (#sort=TABLE.COLUMN.DIRECTION,
// columns counted from 0), so that a sorted table can be linked to.
(() => {
  const compare = new Intl.Collator("en", { numeric: true }).compare;

  const value = (row, column) => {
    const cell = row.cells[column];
    return "key" in cell.dataset ? Number(cell.dataset.key) : cell.textContent.trim();
  };

  const order = (left, right, sign) => {
    // What is missing stays last in both directions.
    if (Number.isNaN(left) || Number.isNaN(right)) return Number.isNaN(left) - Number.isNaN(right);
    return sign * (typeof left === "number" && typeof right === "number" ? left - right : compare(left, right));
  };

  const sort = (table, column, direction) => {
    const headings = table.tHead.rows[0].cells;
    if (!headings[column] || !headings[column].querySelector("button")) return;
    for (const heading of headings) heading.removeAttribute("aria-sort");
    headings[column].setAttribute("aria-sort", direction);
    const sign = direction === "descending" ? -1 : 1;
    const rows = [...table.tBodies[0].rows];
    rows.sort((left, right) => order(value(left, column), value(right, column), sign));
    table.tBodies[0].append(...rows);
  };

  const sortAsAddressed = () => {
    const parts = /^#sort=(\w+)\.(\d+)\.(ascending|descending)$/.exec(location.hash);
    const table = parts && document.getElementById(parts[1]);
    if (table && table.classList.contains("sortable")) sort(table, Number(parts[2]), parts[3]);
  };

  document.addEventListener("click", (event) => {
    const heading = event.target.closest("table.sortable thead th");
    if (!heading || !event.target.closest("button")) return;
    const direction = heading.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
    const table = heading.closest("table");
    sort(table, heading.cellIndex, direction);
    history.replaceState(null, "", `#sort=${table.id}.${heading.cellIndex}.${direction}`);
  });
  addEventListener("hashchange", sortAsAddressed);
  sortAsAddressed();
})();
