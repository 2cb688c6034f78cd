// The stream that is open: its pictures, slots, gaps, facts, and where there is more of it.
import { billText, clock, count, make, outcomes, reason, set, span } from "./words.js";
import { svg } from "./draw.js";
import { runbookLink } from "./bar.js";
import { Compare } from "./compare.js";
import { dataURL, Figures } from "./figure.js";
import { priceText, Slots } from "./slots.js";

// A Detail loads pictures from when it is made until it is closed.
export class Detail {
  // all is the answer about all streams, and names returns those that are listed.
  constructor(name, stream, all, names) {
    this.name = name;
    this.links = all.links;
    this.price = all.frame_request;
    this.url = `/api/streams/${encodeURIComponent(name)}`;
    this.stop = new AbortController();
    this.output = stream.outputs?.[0]?.output;
    this.slots = new Slots(this.price, (slot) => this.ask(slot));
    this.gaps = make("div");
    this.bursts = make("section", { hidden: "" });
    this.facts = make("dl", { class: "facts" });
    this.why = make("p", { class: "whole" });
    this.outputs = make("div", { class: "outputs", role: "group", "aria-label": "Output" });
    this.live = new Figures();
    this.live.element.classList.add("live");
    this.say = make("p", { class: "say", role: "status" }, "Waiting for the next frame …");
    this.asked = make("div", { class: "asked" });
    this.compare = new Compare(() => ({ name, output: this.output }), names);
    this.saveFrame = make("a", { class: "button", hidden: "" }, "Save this frame");
    this.saveTensor = make("a", { class: "button", download: "" }, "Save the next tensor (.npy)");
    this.config = make("pre", { hidden: "", tabindex: 0, "aria-label": "Config of the stream" });
    this.said = make("span", { role: "status" });
    const copy = make("button", { type: "button" }, "Copy its config");
    copy.addEventListener("click", () => this.copyConfig());
    const grafana = this.links.grafana && make("a", { class: "button", target: "_blank", rel: "noreferrer", href: this.links.grafana.replaceAll("{stream}", encodeURIComponent(name)) }, "Grafana");
    this.element = make("div", { class: "detail" },
      make("section", { class: "wide" }, this.why, make("h3", {}, "Picture"), this.outputs, this.live.element, this.say,
        make("div", { class: "tools" }, this.saveFrame, this.saveTensor, copy, ...(grafana ? [grafana] : []), this.said), this.config, this.compare.element),
      this.slots.element, this.asked,
      make("section", {}, make("h3", {}, "Latest gaps"), this.gaps),
      make("section", {}, make("h3", {}, "Facts"), this.facts), this.bursts);
    for (const o of stream.outputs ?? []) {
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
    this.saveTensor.href = `${this.url}/picture?${new URLSearchParams({ output: this.output, as: "npy" })}`;
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
    if (!p.tensor) return; // the last pictures stay
    this.live.show(p);
    this.saveFrame.hidden = !p.source;
    if (p.source) {
      this.saveFrame.href = dataURL(p.source);
      this.saveFrame.download = `${p.stream}.${p.time}.${p.source.type === "image/png" ? "png" : "jpg"}`;
    }
  }

  // ask asks the service for the picture of a slot that has passed, which it bills.
  async ask(slot) {
    const title = make("h3", {}, `Slot ${clock(slot, 3)}, asked for again`);
    const say = make("p", { class: "say", role: "status" }, "Asking Kinesis …");
    const figures = new Figures();
    this.asked.className = "wide asked";
    this.asked.replaceChildren(title, figures.element, say);
    const query = (more) => `${this.url}/frame?${new URLSearchParams({ output: this.output, time: slot, ...more })}`;
    try {
      const r = await fetch(query({}), { method: "POST", signal: AbortSignal.timeout(20000) });
      if (!r.ok) {
        set(say, (await r.text()).trim());
        return;
      }
      const p = await r.json();
      figures.show(p);
      set(say, `Kinesis billed ${priceText(this.price)} at most: what is asked for again within a minute costs nothing.`);
      const save = (as, words) => make("form", { method: "post", action: query({ as }) }, make("button", {}, words));
      this.asked.append(make("div", { class: "tools" }, save("frame", "Save this frame"), save("npy", "Save its tensor (.npy)")));
    } catch (e) {
      set(say, `Kinesis or cvfeeder does not answer: ${e.message}`);
    }
  }

  // copyConfig shows what the config file says of the stream, and copies it where the browser
  // allows that.
  async copyConfig() {
    try {
      const r = await fetch(`${this.url}/config`);
      const text = await r.text();
      this.config.textContent = text;
      this.config.hidden = !r.ok;
      if (!r.ok) throw new Error(text.trim());
      await navigator.clipboard.writeText(text);
      set(this.said, "Copied.");
    } catch (e) {
      set(this.said, this.config.hidden ? e.message : "Select the text below to copy it.");
    }
  }

  update(s) {
    this.slots.update(s.slots);
    this.showReasons(s);
    this.showGaps(s);
    this.showBursts(s);
    this.showFacts(s);
  }

  // showReasons shows all reasons in full, with links to the runbook.
  showReasons(s) {
    const seen = s.camera?.conditions ?? [];
    const key = JSON.stringify([s.reasons, seen]);
    if (this.why.key === key) return;
    this.why.key = key;
    this.why.hidden = !s.reasons.length && !seen.length;
    this.why.replaceChildren(
      ...s.reasons.flatMap((r) => [runbookLink(r.code, this.links.runbook), make("b", {}, ` since ${clock(r.since)}: `), r.text, make("br")]),
      ...seen.flatMap((c) => [make("b", {}, `camera ${c.condition} since ${clock(c.since)}: `), c.text, make("br")]));
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

  // showBursts shows the bursts of the last ten minutes, the newest first.
  showBursts(s) {
    const all = s.bursts ?? [];
    const key = JSON.stringify(all);
    if (this.bursts.key === key) return;
    this.bursts.key = key;
    this.bursts.hidden = !all.length;
    const rows = all.toReversed().map((b) => make("tr", {},
      make("td", {}, b.burst), make("td", {}, clock(b.from, 3)), make("td", {}, clock(b.to, 3)),
      make("td", {}, `${count(b.outcomes.published ?? 0)} of ${count(b.slots)}`), make("td", {}, b.running ? "running" : "done"), make("td", {}, b.reason ?? "")));
    const head = make("tr", {}, ...["burst", "from", "to", "published", "", "reason"].map((h) => make("th", { scope: "col" }, h)));
    this.bursts.replaceChildren(make("h3", {}, "Bursts"), make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows)));
  }

  showFacts(s) {
    const facts = [
      ["sampled", `every ${span(s.interval_seconds)}`],
      ["lag", s.lag_seconds ? `${span(s.lag_seconds)} behind now` : "not learned yet"],
      ["overlap", s.overlap_seconds ? `${span(s.overlap_seconds)} before the first wanted slot` : "none"],
      ["cursor", clock(s.cursor, 3)],
      ["slots", `${count(s.expected)} expected, ${count(s.pending)} pending`],
      ...Object.entries(s.outcomes).filter(([, n]) => n).map(([o, n]) => [reason(o), count(n)]),
      ...(s.images ? [["images", billText(s.images)]] : []),
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
