// Words for the values of the API, and the formats of times and numbers.

// By letter of a timeline: the name in the API, and what is shown.
export const outcomes = {
  P: ["published", "published"],
  W: ["unwatched", "nobody listened"],
  E: ["unchanged", "unchanged"],
  K: ["skipped", "left out"],
  N: ["no_media", "no media"],
  M: ["media_error", "media error"],
  U: ["undecodable", "undecodable"],
  S: ["stale", "stale"],
  D: ["dropped", "dropped"],
  _: ["pending", "not ended yet"],
  "-": ["nothing", "before the start"],
};

// By state: what is shown, its mark, and its kind, which decides the colour.
export const states = {
  cannot_be_read: ["Cannot be read", "✕", "bad"],
  waiting_for_nats: ["Waiting for NATS", "…", "bad"],
  stalled: ["Stalled", "■", "bad"],
  no_frames: ["No frames", "✕", "bad"],
  gaps: ["Gaps", "▲", "warn"],
  catching_up: ["Catching up", "»", "calm"],
  unwatched: ["Nobody listens", "○", "calm"],
  resting: ["Resting: nobody listens", "◌", "calm"],
  starting: ["Starting", "○", "calm"],
  ok: ["OK", "●", "good"],
  done: ["Done", "✓", "good"],
};

// The words for an outcome.
export const reason = (name) => Object.values(outcomes).find(([n]) => n === name)?.[1] ?? name;

export const count = (n) => n.toLocaleString("en");

// money says an amount: with cents, or with as many digits as it takes for less.
export const money = (n, currency) => `${n >= 1 || n === 0 ? n.toFixed(2) : n.toPrecision(2)} ${currency}`;

// billText says what images cost, and what they were asked for.
export function billText(b) {
  const sum = (by) => Object.values(by).reduce((x, y) => x + y, 0);
  const causes = Object.entries(b.asked).map(([cause, n]) => `${cause} ${count(n)}`).join(", ");
  return `${count(sum(b.asked))} asked for${causes && ` (${causes})`}, ${count(sum(b.paid))} came, at most ${money(b.cost, b.currency)}`;
}

// Seconds as people write them: 4.2 s, 3 min, 2.5 h, 4 days.
export function span(s) {
  if (s < 9.95) return `${Math.max(s, 0).toFixed(1)} s`;
  if (s < 120) return `${Math.round(s)} s`;
  if (s < 7200) return `${Math.round(s / 60)} min`;
  if (s < 172800) return `${(s / 3600).toFixed(1)} h`;
  return `${Math.round(s / 86400)} days`;
}

// The time of day in UTC of a Date or a string, with the date unless that is today's.
export function clock(t, digits = 0) {
  const iso = new Date(t).toISOString();
  const day = iso.slice(0, 10) === new Date().toISOString().slice(0, 10) ? "" : iso.slice(0, 10) + " ";
  return day + iso.slice(11, digits ? 23 : 19);
}

// Makes an element with attributes and children.
export function make(tag, attributes = {}, ...children) {
  const e = document.createElement(tag);
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  e.append(...children);
  return e;
}

// Sets the text of an element if it differs, so that the browser need not redraw it.
export function set(e, text) {
  if (e.textContent !== String(text)) e.textContent = text;
}
