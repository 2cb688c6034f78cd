// Two cameras, or two outputs of one, side by side at the same slot.
import { clock, make, set, span } from "./words.js";
import { Figures } from "./figure.js";

export class Compare {
  // left is called for the name and the output that are compared with others; names for those
  // of the streams that are listed.
  constructor(left, names) {
    this.left = left;
    const id = `names-${left().name}`;
    this.list = make("datalist", { id });
    this.stream = make("input", { type: "text", list: id, autocomplete: "off", spellcheck: "false" });
    this.stream.value = left().name;
    this.output = make("select");
    this.go = make("button", { type: "button" }, "Show the next slot of both");
    this.say = make("p", { class: "say", role: "status" });
    this.sides = [new Figures(), new Figures()];
    this.heads = [make("h4"), make("h4")];
    this.element = make("details", { class: "compare" }, make("summary", {}, "Compare with another camera or output"),
      make("div", { class: "tools" }, make("label", {}, "Camera ", this.stream), this.list, make("label", {}, "Output ", this.output), this.go), this.say,
      make("div", { class: "sides" }, ...this.sides.map((f, i) => make("div", {}, this.heads[i], f.element))));
    this.element.addEventListener("toggle", () => {
      this.list.replaceChildren(...names().slice(0, 200).map((n) => make("option", { value: n })));
      this.outputs();
    });
    this.stream.addEventListener("change", () => this.outputs());
    this.go.addEventListener("click", () => this.show());
  }

  // outputs offers those of the other stream.
  async outputs() {
    const name = this.stream.value.trim();
    const r = await fetch(`/api/streams/${encodeURIComponent(name)}`).catch(() => null);
    if (name !== this.stream.value.trim()) return null;
    if (!r?.ok) {
      set(this.say, r ? (await r.text()).trim() : "cvfeeder does not answer");
      this.output.replaceChildren();
      return null;
    }
    const s = await r.json();
    const have = s.outputs.map((o) => o.output);
    if ([...this.output.options].map((o) => o.value).join() !== have.join()) {
      this.output.replaceChildren(...have.map((o) => make("option", { value: o }, o)));
      const mine = this.left();
      if (mine.name === name) this.output.value = have.find((o) => o !== mine.output) ?? have[0];
      set(this.say, "");
    }
    return s;
  }

  // show waits for one slot of both: the first one that neither has passed.
  async show() {
    const left = this.left();
    this.go.disabled = true;
    try {
      const [mine, other] = await Promise.all([fetch(`/api/streams/${encodeURIComponent(left.name)}`).then((r) => r.json()), this.outputs()]);
      if (!other) return;
      const every = Math.max(mine.interval_seconds, other.interval_seconds) * 1000;
      const after = Math.max(Date.parse(mine.cursor), Date.parse(other.cursor)) + 3000;
      const slot = new Date(Math.ceil(after / every) * every).toISOString();
      set(this.say, `Waiting for slot ${clock(slot, 3)} of both …`);
      const sides = [left, { name: other.stream, output: this.output.value }];
      const pictures = await Promise.all(sides.map((s) => picture(s, slot)));
      pictures.forEach((p, i) => {
        set(this.heads[i], `${sides[i].name}, ${sides[i].output}: ${clock(p.time, 3)}`);
        this.sides[i].show(p);
      });
      const apart = Math.abs(Date.parse(pictures[0].time) - Date.parse(pictures[1].time));
      set(this.say, apart ? `Not the same slot: one of them was lost, or is not in the other's grid. They are ${span(apart / 1000)} apart.` : `Both are of slot ${clock(pictures[0].time, 3)}.`);
    } catch (e) {
      set(this.say, e.message ?? String(e));
    } finally {
      this.go.disabled = false;
    }
  }
}

async function picture({ name, output }, from) {
  const r = await fetch(`/api/streams/${encodeURIComponent(name)}/picture?${new URLSearchParams({ output, from })}`);
  if (!r.ok) throw new Error((await r.text()).trim());
  return r.json();
}
