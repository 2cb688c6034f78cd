// Timelines and sparklines, in SVG so that their colours come from the style sheet.
import { outcomes, clock } from "./words.js";

export function svg(tag, attributes = {}, ...children) {
  const e = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  e.append(...children);
  return e;
}

// Cells without a loss are low, the others fill the height: gaps show by their shape as
// well as by their colour.
const low = new Set(["P", "W", "_"]);

function cell(letter, x, y, width) {
  return low.has(letter)
    ? svg("rect", { class: letter, x, y: y + 0.3, width, height: 0.7 })
    : svg("rect", { class: letter, x, y, width, height: 1 });
}

// timeline draws cells side by side, if they have changed.
export function timeline(el, line, label) {
  el.line = line;
  el.setAttribute("aria-label", label);
  if (el.cells === line.cells) return;
  el.cells = line.cells;
  el.setAttribute("viewBox", `0 0 ${line.cells.length} 1`);
  el.replaceChildren(...line.cells.matchAll(/([^-])\1*/g).map((m) => cell(m[1], m.index, 0, m[0].length)));
}

// grid draws one cell for each slot, in rows.
export function grid(el, line) {
  const seconds = line.cell_seconds;
  const row = [20, 60, 300, 1800, 7200, 18000].map((s) => Math.round(s / seconds)).find((n) => n >= 40) ?? 60;
  const first = Math.round(Date.parse(line.from) / 1000 / seconds) % row;
  const rows = Math.max(Math.ceil((first + line.cells.length) / row), 1);
  el.line = line;
  el.geometry = { row, first, rows };
  if (el.drawn === line.from + line.cells) return;
  el.drawn = line.from + line.cells;
  el.setAttribute("viewBox", `0 0 ${row} ${rows * 1.25}`);
  el.style.height = `${rows * 16}px`;
  el.replaceChildren(...[...line.cells].map((letter, i) => {
    const at = first + i;
    return cell(letter, (at % row) + 0.08, Math.floor(at / row) * 1.25, 0.84);
  }));
}

// spark draws durations as a curve, with a hole where there are none.
export function spark(el, points, label) {
  el.setAttribute("aria-label", label);
  const key = points.seconds.join();
  if (el.key === key) return;
  el.key = key;
  const top = Math.max(...points.seconds, 0.1) * 1.1;
  const lines = [];
  let line = [];
  points.seconds.forEach((s, i) => {
    if (s > 0) line.push(`${i},${(1 - s / top).toFixed(3)}`);
    if ((s <= 0 || i === points.seconds.length - 1) && line.length) {
      if (line.length === 1) line.push(line[0].replace(/^\d+/, (n) => Number(n) + 0.8));
      lines.push(line.join(" "));
      line = [];
    }
  });
  el.setAttribute("viewBox", `0 0 ${points.seconds.length - 1} 1`);
  el.replaceChildren(...lines.map((p) => svg("polyline", { points: p })));
}

// tipText describes the cell under the pointer.
function tipText(el, x, y) {
  const box = el.getBoundingClientRect();
  const { cells, from, cell_seconds: seconds } = el.line;
  let i = Math.floor(((x - box.left) / box.width) * cells.length);
  if (el.geometry) {
    const { row, first, rows } = el.geometry;
    i = Math.floor(((y - box.top) / box.height) * rows) * row + Math.floor(((x - box.left) / box.width) * row) - first;
  }
  if (!cells[i]) return "";
  const begin = Date.parse(from) + i * seconds * 1000;
  const time = el.geometry ? clock(begin, 3) : `${clock(begin)} to ${clock(begin + seconds * 1000)}`;
  const worst = el.geometry || "PW_-".includes(cells[i]) ? "" : "slots lost: ";
  return `${time}\n${worst}${outcomes[cells[i]][1]}`;
}

// tips describes the cell under the pointer in all timelines, present and future.
export function tips(tip) {
  document.addEventListener("pointermove", (e) => {
    const el = e.target.closest?.("svg.timeline, svg.slots");
    const text = el?.line ? tipText(el, e.clientX, e.clientY) : "";
    tip.hidden = !text;
    if (!text) return;
    tip.textContent = text;
    tip.style.left = `${Math.min(e.clientX + 12, innerWidth - tip.offsetWidth - 8)}px`;
    tip.style.top = `${e.clientY + 18 + tip.offsetHeight > innerHeight ? e.clientY - tip.offsetHeight - 8 : e.clientY + 18}px`;
  });
  document.addEventListener("pointerleave", () => { tip.hidden = true; });
}
