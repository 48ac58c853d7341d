// Sorts a table by the column whose head is clicked, or chosen with Enter: numbers by value before words, and what is
// "none" or empty last, whichever way it is sorted.
const sort = (head) => {
  const place = head.cellIndex;
  const body = head.closest("table").tBodies[0];
  const down = head.getAttribute("aria-sort") !== "descending";
  const value = (row) => row.cells[place].textContent;
  const absent = (text) => text === "none" || text === "";
  const compare = (a, b) => {
    const x = value(a), y = value(b);
    if (absent(x) || absent(y)) return absent(x) - absent(y);
    const sign = down ? -1 : 1;
    if (Number.isNaN(Number(x)) || Number.isNaN(Number(y))) {
      return Number.isNaN(Number(x)) - Number.isNaN(Number(y)) || sign * x.localeCompare(y, undefined, { numeric: true });
    }
    return sign * (Number(x) - Number(y));
  };
  for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  body.append(...[...body.rows].sort(compare));
};
document.addEventListener("click", (event) => {
  const head = event.target.closest("th");
  if (head) sort(head);
});
document.addEventListener("keydown", (event) => {
  const head = event.target.closest("th");
  if (!head || (event.key !== "Enter" && event.key !== " ")) return;
  event.preventDefault();
  sort(head);
});
for (const head of document.querySelectorAll("th")) head.tabIndex = 0;
// Figures that were laid out for the screen are laid out for paper, lower and as wide as a page, and back again.
const PAPER = { width: 680, share: 0.62, least: 210 };
const lay = (figure, size) => {
  figure.style.height = `${size.height}px`;
  figure.parentElement.style.height = "auto"; // plotly's own wrapper, which has the height for the screen
  Plotly.relayout(figure, size);
};
window.addEventListener("beforeprint", () => {
  for (const figure of document.querySelectorAll(".js-plotly-plot:not([data-height])")) {
    const { height } = figure.layout;
    figure.dataset.height = height;
    lay(figure, { autosize: false, width: PAPER.width, height: Math.max(PAPER.least, Math.round(PAPER.share * height)) });
  }
});
window.addEventListener("afterprint", () => {
  for (const figure of document.querySelectorAll(".js-plotly-plot[data-height]")) {
    const height = Number(figure.dataset.height);
    delete figure.dataset.height;
    lay(figure, { autosize: true, width: null, height });
  }
});
