// The last slots of a stream, one cell each, with their times. One of them can be chosen, with
// the pointer or with the arrow keys, to ask for its picture.
import { clock, count, make, outcomes, set, span } from "./words.js";
import { grid, svg } from "./draw.js";

const spans = [20, 60, 300, 1800, 7200, 18000]; // seconds in a row

export class Slots {
  // price says what a picture costs; picked is called with the time of the slot whose picture
  // is wanted.
  constructor(price, picked) {
    this.price = price;
    this.picked = picked;
    this.at = null; // the time of the chosen slot, in ms
    this.cells = svg("svg", { class: "slots", preserveAspectRatio: "none", "aria-hidden": "true" });
    this.mark = svg("rect", { class: "chosen", width: 1, height: 1.25 });
    this.slider = make("div", { class: "slider", role: "slider", tabindex: 0, "aria-label": "Slot", "aria-valuemin": 0 }, this.cells);
    this.columns = make("div", { class: "columns", "aria-hidden": "true" });
    this.times = make("div", { class: "times", "aria-hidden": "true" });
    this.title = make("h3");
    this.what = make("span");
    this.ask = make("button", { type: "button", hidden: "" });
    this.element = make("section", { class: "wide" }, this.title,
      make("div", { class: "slotgrid" }, this.columns, this.times, this.slider),
      make("p", { class: "say pick", role: "status" }, this.what, " ", this.ask));
    this.slider.addEventListener("click", (e) => this.choose(this.indexAt(e)));
    this.slider.addEventListener("keydown", (e) => this.key(e));
    this.ask.addEventListener("click", () => this.picked(new Date(this.at).toISOString()));
  }

  update(line) {
    this.line = line;
    const n = line.cells.length;
    this.element.hidden = false;
    if (!n) {
      set(this.title, "No slot has ended yet");
      this.element.querySelector(".slotgrid").hidden = true;
      return;
    }
    this.element.querySelector(".slotgrid").hidden = false;
    const lost = [...line.cells].filter((l) => !"PW_".includes(l)).length;
    set(this.title, `The last ${count(n)} slots (${span(n * line.cell_seconds)}), one cell each: ${lost ? `${count(lost)} lost` : "none lost"}`);
    grid(this.cells, line);
    this.label();
    this.show();
  }

  // label writes the time of the first cell of each row, and how much later the others are.
  label() {
    const { row, first, rows } = this.cells.geometry;
    const from = Date.parse(this.line.from) - first * this.line.cell_seconds * 1000;
    const length = row * this.line.cell_seconds;
    const key = `${from} ${rows} ${length}`;
    if (this.labelled === key) return;
    this.labelled = key;
    this.times.replaceChildren(...Array.from({ length: rows }, (_, i) => make("span", {}, clock(from + i * length * 1000))));
    this.columns.replaceChildren(...[0, 0.25, 0.5, 0.75, 1].map((part) => make("span", {}, part ? `+${span(part * length).replace(".0 ", " ")}` : "")));
  }

  indexAt(e) {
    const box = this.cells.getBoundingClientRect();
    const { row, first, rows } = this.cells.geometry;
    const x = Math.floor(((e.clientX - box.left) / box.width) * row);
    return Math.floor(((e.clientY - box.top) / box.height) * rows) * row + x - first;
  }

  key(e) {
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.cells.geometry?.row, ArrowDown: this.cells.geometry?.row }[e.key];
    const last = this.line.cells.length - 1;
    if (step) this.choose(this.at === null ? last : this.index() + step);
    else if (e.key === "Home") this.choose(0);
    else if (e.key === "End") this.choose(last);
    else if (e.key === "Enter" && !this.ask.hidden) this.ask.click();
    else return;
    e.preventDefault();
    e.stopPropagation();
  }

  index() {
    return Math.round((this.at - Date.parse(this.line.from)) / 1000 / this.line.cell_seconds);
  }

  choose(i) {
    if (i < 0 || i >= this.line.cells.length) return;
    this.at = Date.parse(this.line.from) + i * this.line.cell_seconds * 1000;
    this.show();
  }

  // show marks the chosen slot, and says what it is and what its picture costs.
  show() {
    const last = this.line.cells.length - 1;
    const i = this.at === null ? -1 : this.index();
    const slider = { "aria-valuemax": last, "aria-valuenow": i < 0 ? last : i };
    const letter = this.line.cells[i < 0 ? last : i];
    slider["aria-valuetext"] = `${clock(i < 0 ? Date.parse(this.line.from) + last * this.line.cell_seconds * 1000 : this.at, 3)}: ${outcomes[letter]?.[1] ?? "no longer shown"}`;
    for (const [k, v] of Object.entries(slider)) this.slider.setAttribute(k, v);
    if (i < 0) {
      this.mark.remove();
      set(this.what, this.at === null ? "Choose a cell to see what became of its slot." : `${clock(this.at, 3)} is no longer among the last slots.`);
      this.ask.hidden = this.at === null || !this.price;
      return;
    }
    const { row, first } = this.cells.geometry;
    this.mark.setAttribute("x", (first + i) % row);
    this.mark.setAttribute("y", Math.floor((first + i) / row) * 1.25 - 0.1);
    if (this.cells.lastChild !== this.mark) this.cells.append(this.mark);
    set(this.what, `${clock(this.at, 3)}: ${outcomes[letter][1]}.`);
    this.ask.hidden = !this.price;
    if (this.price) set(this.ask, `Ask Kinesis for its picture (${priceText(this.price)})`);
  }
}

// priceText says what the frame of a slot costs.
export const priceText = (p) => `${p.images} images${p.price ? `, ${p.price.toFixed(8).replace(/0+$/, "")} ${p.currency}` : ""}`;
