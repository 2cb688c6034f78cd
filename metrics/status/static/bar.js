// What is said of the whole process: the facts in the header, and the bar that says what is
// wrong with it before anything else.
import { billText, clock, count, make, money, set, span, states } from "./words.js";

const $ = (id) => document.getElementById(id);
const published = []; // [time, slots], for the rate

export function showHeader(all) {
  set($("ready"), all.ready ? "ready" : "not ready");
  $("ready").className = `pill ${all.ready ? "good" : "bad"}`;
  set($("nats"), all.nats.connected ? "connected" : "disconnected");
  $("nats").className = all.nats.connected ? "" : "bad";
  $("nats").title = [all.nats.url, ...all.nats.connections.map((c) => `${c.name}: ${c.connected ? "connected" : "disconnected"}, ${c.reconnects} reconnects`)].join("\n");
  set($("mode"), all.mode);
  set($("uptime"), span(all.uptime_seconds));
  set($("version"), all.version);
  const { published: done = 0, unwatched = 0, unchanged = 0, skipped = 0, ...lost } = all.totals.outcomes;
  const sum = Object.values(lost).reduce((a, b) => a + b, 0);
  set($("lost"), sum ? `${count(sum)} of ${count(sum + done + unwatched + unchanged + skipped)}` : "none");
  const bill = all.totals.images;
  if (bill) {
    set($("images"), `${count(bill.month)} · ${money(bill.month_cost, bill.currency)}`);
    $("images").title = `asked for this month, and what they cost at most; since the start: ${billText(bill)}`;
  }
  const now = Date.parse(all.time) / 1000;
  if (published.length && done < published.at(-1)[1]) published.length = 0; // restarted
  published.push([now, done]);
  while (published.length > 2 && now - published[0][0] > 12) published.shift();
  const [t0, n0] = published[0];
  set($("rate"), now > t0 ? ((done - n0) / (now - t0)).toFixed(1) : "–");
  const ill = Object.entries(all.totals.states).filter(([s]) => ["bad", "warn"].includes(states[s][2])).reduce((n, [, k]) => n + k, 0);
  document.title = ill ? `(${ill}) cvfeeder` : "cvfeeder";
  showBar(all);
}

// showBar says what is wrong with the process, worst first, and how many cameras have which
// reason where that is why it is not ready.
function showBar(all) {
  const lines = all.reasons.map((r) => ({ since: r.since, code: r.code, text: r.text }));
  if (all.workers_busy_ratio >= 0.95) {
    lines.push({ text: "Too few cores: the workers have been busy for ten seconds without a pause, and frames will be late." });
  }
  if (!all.ready) {
    const own = new Set(all.reasons.map((r) => r.code));
    const counts = Object.entries(all.reason_counts).filter(([code]) => !own.has(code)).sort(([, a], [, b]) => b - a);
    for (const [code, n] of counts.slice(0, 3)) {
      const one = all.not_ready.find((line) => line.startsWith(`${code}: stream `));
      const like = one ? `, such as ${one.slice(`${code}: stream `.length)}` : "";
      lines.push({ code, text: `${count(n)} of ${count(all.totals.streams)} streams${like}` });
    }
  }
  const bar = $("notready");
  const key = JSON.stringify([all.ready, lines, all.links.runbook]);
  if (bar.key === key) return;
  bar.key = key;
  bar.hidden = !lines.length && all.ready;
  bar.className = `banner ${all.ready ? "warn" : "bad"}`;
  bar.replaceChildren(make("strong", {}, all.ready ? "Ready, but:" : "Not ready:"),
    make("ul", {}, ...lines.map((l) => make("li", {}, ...reasonOf(l, all.links.runbook)))));
}

// reasonOf returns what is shown of a reason: its code, which links to the runbook, since when
// it is so, and its text.
function reasonOf({ code, since, text }, runbook) {
  const short = text.length > 400 ? `${text.slice(0, 390)} …` : text;
  return [...(code ? [runbookLink(code, runbook), " "] : []), ...(since ? [make("b", {}, `since ${clock(since)}: `)] : []), short];
}

// runbookLink returns the code of a reason, which links to the runbook where there is one.
export function runbookLink(code, runbook) {
  return runbook ? make("a", { href: `${runbook}#${code}`, target: "_blank", rel: "noreferrer" }, code) : make("code", {}, code);
}
