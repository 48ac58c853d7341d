// Sorts a table by the column whose head is clicked; numbers before words, by value.
document.addEventListener("click", (event) => {
  const head = event.target.closest("th");
  if (!head) return;
  const place = head.cellIndex;
  const body = head.closest("table").tBodies[0];
  const down = head.getAttribute("aria-sort") !== "descending";
  const value = (row) => row.cells[place].dataset.v ?? row.cells[place].textContent;
  const compare = (a, b) => {
    const x = Number(value(a)), y = Number(value(b));
    if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y) || value(a).localeCompare(value(b));
    return x - y;
  };
  for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const rows = [...body.rows].sort((a, b) => (down ? -1 : 1) * compare(a, b));
  body.append(...rows);
});
// Figures that were laid out for the screen are laid out again for paper, and back.
for (const moment of ["beforeprint", "afterprint"]) {
  window.addEventListener(moment, () => {
    for (const figure of document.querySelectorAll(".js-plotly-plot")) Plotly.Plots.resize(figure);
  });
}
