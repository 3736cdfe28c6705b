// Sorts a table by a column at a click on its heading; columns are counted from 0.
(() => {
  const compare = new Intl.Collator("en", { numeric: true }).compare;
  const written = new Map(); // table → its rows in the order of the study
  for (const table of document.querySelectorAll("table.sortable")) written.set(table, [...table.tBodies[0].rows]);
  const orders = new Map(); // table → COLUMN.DIRECTION

  const value = (row, column) => {
    const cell = row.cells[column];
    return "key" in cell.dataset ? Number(cell.dataset.key) : cell.textContent.trim();
  };

  const compared = (left, right, sign) => {
    // What is missing stays last in both directions.
    if (Number.isNaN(left) || Number.isNaN(right)) return Number.isNaN(left) - Number.isNaN(right);
    return sign * (typeof left === "number" && typeof right === "number" ? left - right : compare(left, right));
  };

  const sort = (table, wanted) => {
    const [column, direction] = wanted.split(".");
    const heading = table.tHead.rows[0].cells[column];
    const order = heading?.querySelector("button") ? wanted : "";
    if (order === (orders.get(table) ?? "")) return; // rows that move lose the focus
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    const rows = [...written.get(table)];
    if (order) {
      heading.setAttribute("aria-sort", direction);
      const sign = direction === "descending" ? -1 : 1;
      rows.sort((left, right) => compared(value(left, column), value(right, column), sign));
    }
    table.tBodies[0].append(...rows);
    orders.delete(table);
    if (order) orders.set(table, order);
  };

  const shown = () => [...orders].map(([table, order]) => `${table.id}.${order}`).join();

  address.keep("sort", (text) => {
    const found = text.split(",").map((part) => /^(\w+)\.(\d+\.(?:ascending|descending))$/.exec(part) ?? []);
    const wanted = new Map(found.map(([, table, order]) => [table, order]));
    for (const table of written.keys()) sort(table, wanted.get(table.id) ?? "");
    return shown();
  });

  document.addEventListener("click", (event) => {
    const heading = event.target.closest("table.sortable thead th");
    if (!heading || !event.target.closest("button")) return;
    const direction = heading.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
    sort(heading.closest("table"), `${heading.cellIndex}.${direction}`);
    address.set("sort", shown());
  });
})();
