// The stream that is open: its slots, gaps, facts and pictures.
import { clock, count, make, outcomes, reason, set, span } from "./words.js";
import { grid, svg } from "./draw.js";

// A Detail loads pictures from when it is made until it is closed.
export class Detail {
  constructor(name, stream) {
    this.name = name;
    this.url = `/api/streams/${encodeURIComponent(name)}`;
    this.stop = new AbortController();
    this.output = stream.outputs[0]?.output;
    this.slots = svg("svg", { class: "slots", role: "img", preserveAspectRatio: "none" });
    this.slotsTitle = make("h3");
    this.gaps = make("div");
    this.facts = make("dl", { class: "facts" });
    this.outputs = make("div", { class: "outputs", role: "group", "aria-label": "Output" });
    this.source = figure("The camera’s frame");
    this.tensor = figure("What the model sees");
    this.say = make("p", { class: "say", role: "status" }, "Waiting for the next frame …");
    this.element = make("div", { class: "detail" },
      make("section", { class: "wide" }, make("h3", {}, "Picture"), this.outputs,
        make("div", { class: "pictures" }, this.source.element, this.tensor.element), this.say),
      make("section", { class: "wide" }, this.slotsTitle, this.slots),
      make("section", {}, make("h3", {}, "Latest gaps"), this.gaps),
      make("section", {}, make("h3", {}, "Facts"), this.facts));
    for (const o of stream.outputs) {
      const b = make("button", { type: "button", "aria-pressed": o.output === this.output }, o.output);
      b.addEventListener("click", () => this.choose(o.output));
      this.outputs.append(b);
    }
    this.loadPictures();
  }

  close() {
    this.stop.abort();
    this.element.remove();
  }

  choose(output) {
    this.output = output;
    for (const b of this.outputs.children) b.setAttribute("aria-pressed", b.textContent === output);
    this.stop.abort();
    this.stop = new AbortController();
    set(this.say, "Waiting for the next frame …");
    this.loadPictures();
  }

  // loadPictures loads one picture after the other, while the page is visible.
  async loadPictures() {
    const { signal } = this.stop;
    while (!signal.aborted && this.output) {
      let pause = 1000;
      if (!document.hidden) {
        try {
          const r = await fetch(`${this.url}/picture?output=${encodeURIComponent(this.output)}`, { signal });
          if (r.ok) this.show(await r.json());
          else {
            set(this.say, (await r.text()).trim());
            pause = 3000;
          }
        } catch {
          pause = 3000;
        }
      }
      await new Promise((done) => setTimeout(done, pause));
    }
  }

  show(p) {
    const when = `${clock(p.time, 3)}, ${p.outcome === "published" ? "published" : `ended as ${reason(p.outcome)}`}`;
    set(this.say, p.reason ? `${when}: ${p.reason}` : when);
    if (!p.tensor) return;
    const [a, , c, , e, f] = p.affine;
    const t = p.tensor;
    this.tensor.show(t, `${p.shape.replace(/^(\S+) (\S+) (\S+) (\S+)/, "$1×$2×$3×$4")}`);
    // The part of the tensor that the picture fills; the rest is padding.
    const size = p.source ?? { width: a * t.width, height: e * t.height };
    const inTensor = clip(-c / a, -f / e, (size.width - c) / a, (size.height - f) / e, t.width, t.height);
    this.tensor.mark(inTensor, t, false);
    if (!p.source) return;
    this.source.show(p.source, `${p.source.width}×${p.source.height}; the model sees the part inside the dashed line`);
    this.source.mark(clip(c, f, a * t.width + c, e * t.height + f, p.source.width, p.source.height), p.source, true);
  }

  update(s) {
    const line = s.slots;
    grid(this.slots, line);
    const lost = [...line.cells].filter((l) => l !== "P").length;
    const length = span(line.cells.length * line.cell_seconds);
    set(this.slotsTitle, `The last ${count(line.cells.length)} slots (${length}), one cell each: ${lost ? `${count(lost)} lost` : "none lost"}`);
    this.slots.setAttribute("aria-label", this.slotsTitle.textContent);
    this.showGaps(s);
    this.showFacts(s);
  }

  showGaps(s) {
    const key = JSON.stringify(s.gaps);
    if (this.gaps.key === key) return;
    this.gaps.key = key;
    if (!s.gaps.length) {
      this.gaps.replaceChildren("None since the start.");
      return;
    }
    const rows = s.gaps.map((g) => {
      const letter = Object.keys(outcomes).find((l) => outcomes[l][0] === g.reason);
      const swatch = svg("svg", { class: "swatch", viewBox: "0 0 1 1", "aria-hidden": "true" }, svg("rect", { class: letter, width: 1, height: 1 }));
      return make("tr", {}, make("td", {}, clock(g.from, 3)), make("td", {}, span(g.slots * s.interval_seconds)),
        make("td", {}, count(g.slots)), make("td", {}, swatch, reason(g.reason)));
    });
    const head = make("tr", {}, ...["from", "length", "slots", "reason"].map((h) => make("th", { scope: "col" }, h)));
    this.gaps.replaceChildren(make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows)));
  }

  showFacts(s) {
    const facts = [
      ["sampled", `every ${span(s.interval_seconds)}`],
      ["lag", `${span(s.lag_seconds)} behind now`],
      ["overlap", `${span(s.overlap_seconds)} before the first wanted slot`],
      ["cursor", clock(s.cursor, 3)],
      ["slots", `${count(s.expected)} expected, ${count(s.pending)} pending`],
      ...Object.entries(s.outcomes).filter(([, n]) => n).map(([o, n]) => [reason(o), count(n)]),
      ...s.outputs.map((o) => [o.output, `${o.subject} (${o.spec})`]),
    ];
    const off = s.producer_offset_seconds;
    if (Math.abs(off) >= 1) facts.push(["camera's clock", `${span(Math.abs(off))} ${off > 0 ? "behind" : "ahead of"} that of Kinesis Video Streams`]);
    const key = JSON.stringify(facts);
    if (this.facts.key === key) return;
    this.facts.key = key;
    this.facts.replaceChildren(...facts.flatMap(([k, v]) => [make("dt", {}, k), make("dd", {}, v)]));
  }
}

const clip = (x0, y0, x1, y1, w, h) => ({
  x: Math.max(x0, 0), y: Math.max(y0, 0),
  width: Math.min(x1, w) - Math.max(x0, 0), height: Math.min(y1, h) - Math.max(y0, 0),
});

// figure shows a picture with a region marked in it.
function figure(title) {
  const img = make("img", { alt: title });
  const marks = svg("svg", { preserveAspectRatio: "none", "aria-hidden": "true" });
  const frame = make("div", { class: "frame" }, img, marks);
  const caption = make("figcaption");
  const element = make("figure", { hidden: "" }, frame, caption);
  return {
    element,
    show(image, text) {
      element.hidden = false;
      // Two figures side by side have the same height.
      const ratio = image.width / image.height;
      element.style.flex = `${ratio} 1 ${Math.max(ratio * 11, 9)}rem`;
      frame.style.aspectRatio = ratio;
      img.src = `data:${image.type};base64,${image.data}`;
      caption.replaceChildren(make("b", {}, title), ` ${text}`);
    },
    // mark outlines a region, and may shade what is outside of it.
    mark(r, size, shade) {
      marks.setAttribute("viewBox", `0 0 ${size.width} ${size.height}`);
      if (r.width >= size.width - 0.5 && r.height >= size.height - 0.5 && !shade) {
        marks.replaceChildren();
        return;
      }
      const hole = `M0 0H${size.width}V${size.height}H0ZM${r.x} ${r.y}v${r.height}h${r.width}v${-r.height}Z`;
      marks.replaceChildren(...(shade ? [svg("path", { class: "shade", d: hole })] : []),
        svg("rect", { class: "under", ...r }), svg("rect", { class: "region", ...r }));
    },
  };
}
