// The list of streams, and the wall of their pictures. What is shown is loaded every two
// seconds, and only what has changed is redrawn.
import { clock, count, make, outcomes, set, span, states } from "./words.js";
import { spark, svg, timeline, tips } from "./draw.js";
import { showHeader } from "./bar.js";
import { Detail } from "./detail.js";
import { Wall } from "./wall.js";

const every = 2000; // ms
const page = 100; // streams
const $ = (id) => document.getElementById(id);

const rows = new Map(); // by name
const inView = new Set(); // names of the rows that can be seen: only these are loaded in full
// stream is the whole name of the only one that is listed; view is "" for the list.
const wanted = { name: "", sort: "state", state: "", stream: "", limit: page };
let view = "";
let detail = null;
let last = null; // the newest answer, and when it arrived
let version = ""; // of the page's files
let lostSince = null; // when the connection was lost
let held = false; // the pointer is over the list, whose rows must not move then
let timer = 0;
let asking = null;

async function poll() {
  clearTimeout(timer);
  asking?.abort();
  if (document.hidden) return; // visibilitychange calls poll again
  const mine = asking = new AbortController();
  const late = setTimeout(() => mine.abort("late"), 10000);
  let all, one;
  try {
    const query = new URLSearchParams(Object.entries(wanted).filter(([, v]) => v));
    if (view) query.set("full", "");
    else if (rows.size) query.set("full", full());
    const requests = [ask(`/api/streams?${query}`, mine.signal)];
    if (detail) requests.push(ask(detail.url, mine.signal).catch((e) => { if (!e.gone) throw e; }));
    [all, one] = await Promise.all(requests);
  } catch (e) {
    if (mine !== asking) return; // a later poll has taken over
    disconnected(e);
  } finally {
    clearTimeout(late);
    if (mine === asking) timer = setTimeout(poll, every);
  }
  if (!all || mine !== asking) return;
  connected();
  show(all);
  if (one && detail?.name === one.stream) detail.update(one);
}

// full returns the names of the streams to load in full, no more than fit into a URL.
function full() {
  const names = [...new Set([detail?.name, wanted.stream, ...inView])].filter(Boolean);
  let length = 0;
  return names.filter((n) => (length += encodeURIComponent(n).length + 3) < 8000).join();
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
  last = all;
  all.at ??= performance.now();
  showHeader(all);
  showStates(all.totals);
  if (view) wall.update(all.streams);
  else showRows(all);
  showFound(all);
  tick();
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
  const pointed = held ? list.querySelector(":scope > li:hover") : null;
  const was = pointed?.getBoundingClientRect().top;
  const listed = new Set(all.streams.map((s) => s.stream));
  const others = new Map((all.others ?? []).map((s) => [s.stream, s]));
  let moved = 0; // rows that are not where they belong
  for (const [name, row] of rows) {
    if (listed.has(name)) continue;
    const other = others.get(name);
    if (other && (held || detail?.name === name)) {
      row.show(other);
      moved++;
    } else if (!held) remove(name);
  }
  let at = list.firstElementChild;
  for (const s of all.streams) {
    let row = rows.get(s.stream);
    const fresh = !row;
    if (fresh) {
      rows.set(s.stream, row = newRow(s.stream));
      visible.observe(row.element);
    }
    row.show(s);
    if (row.element === at) at = at.nextElementSibling;
    else if (!held) list.insertBefore(row.element, at);
    else {
      moved++;
      if (fresh) list.append(row.element); // where it moves nothing
      at = row.element.nextElementSibling;
    }
  }
  if (focused !== document.activeElement && list.contains(focused)) focused.focus({ preventScroll: true });
  if (pointed) scrollBy({ top: pointed.getBoundingClientRect().top - was, behavior: "instant" });
  $("held").hidden = !(held && moved);
  set($("none"), all.totals.streams ? "No stream matches the filter." : "There are no streams yet.");
  $("none").hidden = all.streams.length > 0 || rows.size > 0;
}

function showFound(all) {
  const of = all.found === all.totals.streams ? "" : ` (${count(all.totals.streams)} in all)`;
  set($("found"), `${count(all.streams.length)} of ${count(all.found)} streams${of}`);
  $("more").hidden = all.streams.length >= all.found;
  $("only").hidden = !wanted.stream;
  set($("onlyname"), wanted.stream);
}

function remove(name) {
  if (detail?.name === name) close();
  const { element } = rows.get(name);
  visible.unobserve(element);
  inView.delete(name);
  element.remove();
  rows.delete(name);
}

// visible notes which rows can be seen, and loads those that have come into view.
const visible = new IntersectionObserver((seen) => {
  let news = false;
  for (const { target, isIntersecting } of seen) {
    const name = target.name;
    if (!isIntersecting) inView.delete(name);
    else {
      inView.add(name);
      news ||= rows.get(name)?.brief;
    }
  }
  if (news) soon();
}, { rootMargin: "300px" });

// soon loads anew, unless it is called again within a moment.
function soon() {
  clearTimeout(timer);
  timer = setTimeout(poll, 150);
}

// hold keeps the rows where they are, as long as the pointer is over the list. Their heights
// stay as well.
function hold(on) {
  if (held === on) return;
  held = on;
  for (const { element } of rows.values()) {
    element.style.height = on && !element.classList.contains("open") ? `${element.offsetHeight}px` : "";
  }
  $("held").hidden = true;
  if (!on && last) show(last);
}

function newRow(name) {
  const open = make("button", { type: "button", "aria-expanded": "false", title: name }, name);
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
  element.name = name;
  head.addEventListener("click", () => { if (!getSelection().toString()) toggle(name); });
  const row = { element, open, age, stream: null, brief: true };
  row.show = (s) => {
    row.brief = !s.timeline && s.cursor;
    row.stream = { ...row.stream, ...s };
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
    const { state: now, camera } = row.stream;
    const seen = camera?.conditions[0];
    const { reason, since } = now === "ok" && seen ? { reason: `${seen.condition}: ${seen.text}`, since: seen.since } : row.stream;
    const text = (now === "ok" && !seen) || !reason ? "" : reason;
    const from = since && text ? `since ${clock(since)} ` : "";
    if (p.key === text + from) return;
    if (held && p.hidden !== !text) return; // a line more or less would move the rows below
    p.key = text + from;
    p.title = text;
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
    writeURL();
    return;
  }
  close();
  const row = rows.get(name);
  if (!row?.stream.outputs?.length) return; // it has not started
  detail = new Detail(name, row.stream, last, () => [...rows.keys()]);
  row.element.style.height = "";
  row.element.append(detail.element);
  row.element.classList.add("open");
  row.open.setAttribute("aria-expanded", "true");
  writeURL();
  poll();
}

function close() {
  const row = rows.get(detail?.name);
  row?.element.classList.remove("open");
  row?.open.setAttribute("aria-expanded", "false");
  detail?.close();
  detail = null;
}

// change changes what is listed.
function change(to) {
  hold(false);
  Object.assign(wanted, { limit: page, stream: "" }, to);
  writeURL();
  poll();
}

// The filters, the order and the view are in the URL, and the open stream behind its #.
function writeURL() {
  const query = new URLSearchParams();
  for (const key of ["name", "state"]) if (wanted[key]) query.set(key, wanted[key]);
  if (wanted.sort !== "state") query.set("sort", wanted.sort);
  if (view) {
    query.set("view", view);
    if (wall.show !== "tensor") query.set("show", wall.show);
  }
  const search = query.size ? `?${query}` : "";
  history.replaceState(null, "", `${location.pathname}${search}${detail ? `#${encodeURIComponent(detail.name)}` : ""}`);
}

function readURL() {
  const query = new URLSearchParams(location.search);
  $("name").value = wanted.name = query.get("name") ?? "";
  if (query.get("state") in states) wanted.state = query.get("state");
  if ([...$("sort").options].some((o) => o.value === query.get("sort"))) $("sort").value = wanted.sort = query.get("sort");
  if (query.get("show") === "frame") wall.show = "frame";
  if (query.get("view") === "wall") view = "wall";
}

// A link to #cam-1 opens that stream, and lists no other.
async function follow() {
  let linked = "";
  try {
    linked = decodeURIComponent(location.hash.slice(1));
  } catch {
    // The link is not one of this page's.
  }
  if (!linked || linked === "streams" || linked === detail?.name) return poll();
  close();
  wanted.stream = linked;
  look("");
  await poll();
  if (rows.get(linked) && detail?.name !== linked) toggle(linked);
}

// look shows the list or the wall.
function look(at) {
  hold(false);
  view = at;
  if (view) close();
  for (const b of document.querySelectorAll("#views button")) b.setAttribute("aria-pressed", b.dataset.view === view);
  for (const b of document.querySelectorAll("#shows button")) b.setAttribute("aria-pressed", b.dataset.show === wall.show);
  $("shows").hidden = !view;
  $("wall").hidden = !view;
  $("streams").hidden = document.querySelector(".row.head").hidden = Boolean(view);
  if (view) wall.start();
  else wall.close();
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

const wall = new Wall($("wall"));
$("theme").addEventListener("click", () => theme(true));
$("name").addEventListener("input", (e) => change({ name: e.target.value.trim() }));
$("sort").addEventListener("change", (e) => change({ sort: e.target.value }));
$("more").addEventListener("click", () => { wanted.limit += page; poll(); });
$("all").addEventListener("click", () => change({}));
for (const b of document.querySelectorAll("#views button")) {
  b.addEventListener("click", () => { look(b.dataset.view); change({}); });
}
for (const b of document.querySelectorAll("#shows button")) {
  b.addEventListener("click", () => { wall.shows(b.dataset.show); look("wall"); writeURL(); });
}
$("streams").addEventListener("pointermove", (e) => { if (e.pointerType === "mouse") hold(true); });
$("streams").addEventListener("pointerleave", () => hold(false));
$("controls").addEventListener("submit", (e) => e.preventDefault());
document.addEventListener("visibilitychange", poll);
addEventListener("hashchange", follow);
document.addEventListener("keydown", (e) => {
  const typing = /^(INPUT|SELECT)$/.test(e.target.tagName);
  if (e.key === "/" && !typing) { e.preventDefault(); $("name").focus(); }
  if (e.key === "Escape" && detail) toggle(detail.name);
});
theme(false);
legend();
tips($("tip"));
setInterval(tick, 1000);
readURL();
look(view);
await follow();
