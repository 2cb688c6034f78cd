// The wall: small pictures of the cameras in view.
import { make, set, span, states } from "./words.js";
import { dataURL } from "./figure.js";

const every = 3000; // ms, until a picture is loaded again
const loaders = 3; // pictures that are loaded at a time
const flowing = ["ok", "gaps", "catching_up", "unwatched"]; // states in which there are pictures

export class Wall {
  constructor(element) {
    this.element = element;
    this.tiles = new Map(); // by name
    this.show = "tensor";
    this.stop = null;
    this.view = new IntersectionObserver((seen) => {
      for (const e of seen) e.target.tile.inView = e.isIntersecting;
    }, { rootMargin: "50px" });
  }

  // start loads pictures until close is called.
  start() {
    if (this.stop) return;
    this.stop = new AbortController();
    for (let i = 0; i < loaders; i++) this.load(this.stop.signal);
  }

  close() {
    this.stop?.abort();
    this.stop = null;
  }

  // shows says what the pictures are of: "tensor" or "frame".
  shows(what) {
    this.show = what;
    for (const t of this.tiles.values()) t.due = 0;
  }

  update(streams) {
    const names = new Set(streams.map((s) => s.stream));
    for (const [name, t] of this.tiles) {
      if (names.has(name)) continue;
      this.view.unobserve(t.element);
      t.element.remove();
      this.tiles.delete(name);
    }
    let at = this.element.firstElementChild;
    for (const s of streams) {
      let t = this.tiles.get(s.stream);
      if (!t) {
        this.tiles.set(s.stream, t = tile(s.stream));
        this.view.observe(t.element);
      }
      t.update(s);
      if (t.element === at) at = at.nextElementSibling;
      else this.element.insertBefore(t.element, at);
    }
  }

  // load loads the picture that is due for the longest time, one after the other.
  async load(signal) {
    while (!signal.aborted) {
      const now = performance.now();
      const due = [...this.tiles.values()].filter((t) => t.inView && !t.busy && t.due <= now && flowing.includes(t.state));
      const t = document.hidden ? null : due.sort((a, b) => a.due - b.due)[0];
      let pause = 200;
      if (t) {
        t.busy = true;
        pause = await this.one(t, signal);
        t.busy = false;
      }
      await new Promise((done) => setTimeout(done, pause));
    }
  }

  // one loads a picture, and returns how long to wait before the next one.
  async one(t, signal) {
    const show = this.show;
    try {
      const r = await fetch(`/api/streams/${encodeURIComponent(t.name)}/thumbnail?show=${show}`, { signal });
      if (r.status === 429) return 1000;
      t.due = performance.now() + every;
      if (!r.ok) t.picture(null, (await r.text()).trim());
      else if (show === this.show) {
        const p = await r.json();
        t.picture(p[show === "frame" ? "source" : "tensor"], p.reason ?? "", show);
      }
    } catch {
      t.due = performance.now() + every;
    }
    return 0;
  }
}

function tile(name) {
  const img = make("img", { alt: "" });
  const none = make("span", { class: "none" }, "Waiting for a frame …");
  const state = make("span", { class: "state" });
  const age = make("span", { class: "num soft" });
  const link = make("a", { href: `#${encodeURIComponent(name)}` }, make("span", { class: "shot" }, img, none), make("span", { class: "tilename" }, name));
  const element = make("li", {}, link, make("span", { class: "tileline" }, state, age));
  img.hidden = true;
  const t = { name, element, inView: false, busy: false, due: 0, state: "" };
  element.tile = t;
  t.update = (s) => {
    t.state = s.state;
    const [words, mark, kind] = states[s.state];
    element.className = `${kind}-state`;
    element.dataset.state = s.state;
    set(state, `${mark} ${words}`);
    set(age, s.newest ? `${span(s.freshness_seconds)} old` : "");
    if (!flowing.includes(s.state)) {
      img.classList.add("old");
      element.title = s.reason;
    }
    if (!flowing.includes(s.state) && img.hidden) set(none, words);
  };
  t.picture = (image, why, show) => {
    element.title = why;
    if (!image) { // the last picture stays, paler
      set(none, why || "Waiting for a frame …");
      img.classList.add("old");
      return;
    }
    img.src = dataURL(image);
    img.alt = show === "frame" ? "The camera’s frame" : "What the model sees";
    img.hidden = false;
    img.classList.toggle("old", !flowing.includes(t.state));
    none.hidden = true;
  };
  return t;
}
