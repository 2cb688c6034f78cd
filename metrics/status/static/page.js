// The list of streams. It is loaded every two seconds, and only what has changed is redrawn.
import { clock, count, make, outcomes, set, span, states } from "./words.js";
import { spark, svg, timeline, tips } from "./draw.js";
import { Detail } from "./detail.js";

const every = 2000; // ms
const page = 100; // streams
const $ = (id) => document.getElementById(id);

const rows = new Map(); // by name
const wanted = { name: "", sort: "state", state: "", limit: page };
let detail = null;
let last = null; // the newest answer, and when it arrived
let version = ""; // of the page's files
let lostSince = null; // when the connection was lost
const published = []; // [time, slots], for the rate
let timer = 0;
let asking = null;

async function poll() {
  clearTimeout(timer);
  asking?.abort();
  if (document.hidden) return; // visibilitychange calls poll again
  const mine = asking = new AbortController();
  const late = setTimeout(() => mine.abort("late"), 10000);
  try {
    const query = new URLSearchParams(Object.entries(wanted).filter(([, v]) => v));
    const requests = [ask(`/api/streams?${query}`, mine.signal)];
    if (detail) requests.push(ask(detail.url, mine.signal).catch((e) => { if (!e.gone) throw e; }));
    const [all, one] = await Promise.all(requests);
    connected();
    show(all);
    if (one && detail?.name === one.stream) detail.update(one);
  } catch (e) {
    if (mine !== asking) return; // a later poll has taken over
    disconnected(e);
  } finally {
    clearTimeout(late);
    if (mine === asking) timer = setTimeout(poll, every);
  }
}

async function ask(url, signal) {
  const r = await fetch(url, { signal, headers: { Accept: "application/json" } });
  if (r.status === 401) location.reload(); // shows the form for the token
  if (!r.ok) throw Object.assign(new Error(`${r.status} ${(await r.text()).trim()}`), { gone: r.status === 404 });
  return r.json();
}

function connected() {
  lostSince = null;
  $("offline").hidden = true;
  document.body.classList.remove("away");
}

function disconnected(e) {
  lostSince ??= new Date();
  const why = e instanceof TypeError || e === "late" ? "cvfeeder does not answer" : e.message ?? e;
  set($("offline"), `Disconnected since ${clock(lostSince)} UTC: ${why}. The data below is old. Retrying …`);
  $("offline").hidden = false;
  document.body.classList.add("away");
  set($("ready"), "disconnected");
  $("ready").className = "pill bad";
}

function show(all) {
  if (version && version !== all.page) location.reload(); // the program was replaced
  version = all.page;
  last = { ...all, at: performance.now() };
  showHeader(all);
  showStates(all.totals);
  showRows(all);
  tick();
}

function showHeader(all) {
  set($("ready"), all.ready ? "ready" : "not ready");
  $("ready").className = `pill ${all.ready ? "good" : "bad"}`;
  set($("nats"), all.nats.connected ? "connected" : "disconnected");
  $("nats").className = all.nats.connected ? "" : "bad";
  $("nats").title = [all.nats.url, ...all.nats.connections.map((c) => `${c.name}: ${c.connected ? "connected" : "disconnected"}, ${c.reconnects} reconnects`)].join("\n");
  set($("mode"), all.mode);
  set($("uptime"), span(all.uptime_seconds));
  set($("version"), all.version);
  const { published: done = 0, unwatched = 0, ...lost } = all.totals.outcomes;
  const sum = Object.values(lost).reduce((a, b) => a + b, 0);
  set($("lost"), sum ? `${count(sum)} of ${count(sum + done + unwatched)}` : "none");
  const now = Date.parse(all.time) / 1000;
  if (published.length && done < published.at(-1)[1]) published.length = 0; // restarted
  published.push([now, done]);
  while (published.length > 2 && now - published[0][0] > 12) published.shift();
  const [t0, n0] = published[0];
  set($("rate"), now > t0 ? ((done - n0) / (now - t0)).toFixed(1) : "–");
  const why = all.ready ? all.reasons.map((r) => r.text) : all.not_ready;
  const first = why.slice(0, 3).map((w) => (w.length > 160 ? `${w.slice(0, 150)} …` : w));
  if (why.length > 3) first.push(`and ${count(why.length - 3)} more`);
  const few = all.workers_busy_ratio >= 0.95 ? "Too few cores: the workers have been busy for ten seconds without a pause, and frames will be late." : "";
  const notes = [all.ready ? "" : "Not ready:", ...first, few].filter(Boolean).join("\n");
  set($("notready"), notes);
  $("notready").hidden = !notes;
  const ill = Object.entries(all.totals.states).filter(([s]) => ["bad", "warn"].includes(states[s][2])).reduce((n, [, k]) => n + k, 0);
  document.title = ill ? `(${ill}) cvfeeder` : "cvfeeder";
}

function showStates(totals) {
  const shown = [["", ["All", "", ""], totals.streams], ...Object.entries(states).map(([s, w]) => [s, w, totals.states[s] ?? 0])]
    .filter(([s, , n]) => n || !s || s === wanted.state);
  const key = JSON.stringify(shown) + wanted.state;
  const box = $("states");
  if (box.key === key) return;
  box.key = key;
  const focused = box.contains(document.activeElement) ? document.activeElement.dataset.state : null;
  box.replaceChildren(...shown.map(([s, [words, mark, kind], n]) => {
    const b = make("button", { type: "button", "aria-pressed": wanted.state === s, class: kind && `${kind}-state`, "data-state": s });
    b.append(s ? make("span", { class: "state", "aria-hidden": "true" }, mark) : "", words, make("b", {}, count(n)));
    b.addEventListener("click", () => { change({ state: wanted.state === s ? "" : s }); });
    return b;
  }));
  if (focused !== null) box.querySelector(`[data-state="${focused}"]`)?.focus();
}

function showRows(all) {
  const list = $("streams");
  const focused = document.activeElement;
  const names = new Set(all.streams.map((s) => s.stream));
  for (const [name, row] of rows) {
    if (names.has(name)) continue;
    if (detail?.name === name) close();
    row.element.remove();
    rows.delete(name);
  }
  let at = list.firstElementChild;
  for (const s of all.streams) {
    let row = rows.get(s.stream);
    if (!row) rows.set(s.stream, row = newRow(s.stream));
    row.show(s);
    if (row.element === at) at = at.nextElementSibling;
    else list.insertBefore(row.element, at);
  }
  if (focused !== document.activeElement && list.contains(focused)) focused.focus({ preventScroll: true });
  set($("none"), all.totals.streams ? "No stream matches the filter." : "There are no streams yet.");
  $("none").hidden = all.streams.length > 0;
  const of = all.found === all.totals.streams ? "" : ` (${count(all.totals.streams)} in all)`;
  set($("found"), `${count(all.streams.length)} of ${count(all.found)} streams${of}`);
  $("more").hidden = all.streams.length >= all.found;
}

function newRow(name) {
  const open = make("button", { type: "button", "aria-expanded": "false" }, name);
  const state = make("span", { class: "state" });
  const why = make("p", { class: "why" });
  const age = make("span", { class: "num age" });
  const line = svg("svg", { class: "timeline", role: "img", preserveAspectRatio: "none", "shape-rendering": "crispEdges" });
  const lost = make("span", { class: "num" });
  const curve = svg("svg", { class: "spark", role: "img", preserveAspectRatio: "none" });
  const latency = make("span", { class: "num" });
  const head = make("div", { class: "row" },
    make("div", { class: "who" }, make("h2", {}, open, state), why),
    make("div", { class: "cell-age" }, age),
    make("div", { class: "cell-time" }, line),
    make("div", { class: "cell-lost" }, lost),
    make("div", { class: "cell-lat lat" }, curve, latency));
  const element = make("li", {}, head);
  head.addEventListener("click", () => { if (!getSelection().toString()) toggle(name); });
  const row = { element, open, age, stream: null };
  row.show = (s) => {
    row.stream = s;
    const [words, mark, kind] = states[s.state];
    element.className = `${kind}-state${detail?.name === name ? " open" : ""}`;
    element.dataset.state = s.state;
    set(state, `${mark} ${words}`);
    row.why(why);
    set(lost, s.lost ? count(s.lost) : "0");
    lost.className = `num ${s.lost ? "some" : "zero"}`;
    set(latency, s.latency_seconds ? span(s.latency_seconds) : "–");
    if (!s.timeline) return;
    timeline(line, s.timeline, `Timeline of ten minutes: ${s.lost ? `${s.lost} slots lost` : "no slot lost"}`);
    spark(curve, s.latencies, `Latency: ${s.latency_seconds ? span(s.latency_seconds) : "unknown"}`);
  };
  row.why = (p) => {
    const { reason, since, state: now } = row.stream;
    const text = now === "ok" || !reason ? "" : reason;
    const from = since && text ? `since ${clock(since)} ` : "";
    if (p.key === text + from) return;
    p.key = text + from;
    p.replaceChildren(...(from ? [make("b", {}, from)] : []), text);
    p.hidden = !text;
  };
  return row;
}

// tick updates the clock and the ages between two answers.
function tick() {
  if (!last) return;
  const more = (performance.now() - last.at) / 1000;
  set($("clock"), `${clock(Date.parse(last.time) + more * 1000)} UTC`);
  for (const { age, stream: s } of rows.values()) {
    set(age, s.newest ? span(s.freshness_seconds + more) : "none");
  }
}

function toggle(name) {
  if (detail?.name === name) {
    close();
    history.replaceState(null, "", location.pathname);
    return;
  }
  close();
  const row = rows.get(name);
  if (!row.stream.timeline) return; // it has not started
  detail = new Detail(name, row.stream);
  row.element.append(detail.element);
  row.element.classList.add("open");
  row.open.setAttribute("aria-expanded", "true");
  history.replaceState(null, "", `#${encodeURIComponent(name)}`);
  poll();
}

function close() {
  const row = rows.get(detail?.name);
  row?.element.classList.remove("open");
  row?.open.setAttribute("aria-expanded", "false");
  detail?.close();
  detail = null;
}

function change(to) {
  Object.assign(wanted, { limit: page }, to);
  poll();
}

function theme(next) {
  const order = ["system", "light", "dark"];
  const root = document.documentElement;
  if (next) root.dataset.theme = order[(order.indexOf(root.dataset.theme) + 1) % order.length];
  localStorage.setItem("cvfeeder-theme", root.dataset.theme);
  set($("theme"), `Theme: ${root.dataset.theme}`);
}

function legend() {
  const entries = Object.entries(outcomes).filter(([l]) => l !== "-");
  $("legend").append(...entries.map(([l, [, words]]) => {
    const low = "PW_".includes(l);
    const rect = svg("rect", { class: l, width: 1, height: low ? 0.7 : 1, y: low ? 0.3 : 0 });
    return make("li", {}, svg("svg", { viewBox: "0 0 1 1", "aria-hidden": "true" }, rect), words);
  }));
}

$("theme").addEventListener("click", () => theme(true));
$("name").addEventListener("input", (e) => change({ name: e.target.value.trim() }));
$("sort").addEventListener("change", (e) => change({ sort: e.target.value }));
$("more").addEventListener("click", () => { wanted.limit += page; poll(); });
$("controls").addEventListener("submit", (e) => e.preventDefault());
document.addEventListener("visibilitychange", poll);
document.addEventListener("keydown", (e) => {
  const typing = /^(INPUT|SELECT)$/.test(e.target.tagName);
  if (e.key === "/" && !typing) { e.preventDefault(); $("name").focus(); }
  if (e.key === "Escape" && detail) toggle(detail.name);
});
theme(false);
legend();
tips($("tip"));
setInterval(tick, 1000);
// A link to #cam-1 opens that stream.
let linked = "";
try {
  linked = decodeURIComponent(location.hash.slice(1));
} catch {
  // The link is not one of this page's.
}
if (linked && linked !== "streams") {
  $("name").value = wanted.name = linked;
  await poll();
  if (rows.has(linked)) toggle(linked);
} else poll();
