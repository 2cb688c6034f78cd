// Draws a dashboard of Grafana with Grafana's own components, from what Prometheus has
// answered. /look.json has the dashboard, the answers by panel and query, and the annotations;
// ?theme= is dark or light. The title becomes "drawn" when all is there.
import '@fontsource/inter/400.css';
import '@fontsource/inter/500.css';
import { FieldType, ThresholdsMode, createTheme, dateTime, getDisplayProcessor, reduceField } from '@grafana/data';
import { BigValue, GlobalStyles, Icon, PanelChrome, PortalContainer, Table, ThemeContext, TimeSeries } from '@grafana/ui';
import { createRoot } from 'react-dom/client';
import { Heatmap, StateTimeline } from './sketches.jsx';

const COLUMNS = 24;
const WIDTH = 1600 - 2 * 16; // a page of 1600 pixels, with its margins
const ROW = 30; // Grafana's height of a row, and the gap between two
const GAP = 8;
const across = (w) => Math.floor((w / COLUMNS) * (WIDTH + GAP)) - GAP;
const down = (h) => h * (ROW + GAP) - GAP;

window.__grafana_public_path__ = '/';
const theme = createTheme({ colors: { mode: new URLSearchParams(location.search).get('theme') ?? 'dark' } });

const fill = (template, labels) => template.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, name) => labels[name] ?? '');

// What the overrides and the defaults of a panel say of a field.
function config(panel, name) {
  const { defaults, overrides } = structuredClone(panel.fieldConfig);
  for (const o of overrides) {
    if (o.matcher.options !== name) continue;
    for (const { id, value } of o.properties) {
      const path = id.split('.');
      const last = path.pop();
      path.reduce((at, key) => (at[key] ??= {}), defaults)[last] = value;
    }
  }
  // JSON has no infinity: the first threshold has no value.
  for (const step of defaults.thresholds?.steps ?? []) step.value ??= -Infinity;
  if (defaults.thresholds) defaults.thresholds.mode = ThresholdsMode.Absolute;
  return { ...defaults, links: [] };
}

function field(panel, name, values, seriesIndex, labels) {
  const f = { name, type: FieldType.number, values, labels, config: { ...config(panel, name), displayName: name }, state: { seriesIndex, displayName: name } };
  f.display = getDisplayProcessor({ field: f, theme, timeZone: 'utc' });
  return f;
}

// One frame for each series. Gaps in the answer are null, as Grafana has them.
function frames(panel, answers, step) {
  const all = [];
  for (const target of panel.targets) {
    for (const series of answers[target.refId] ?? []) {
      if (!series.values) continue;
      const times = [];
      const values = [];
      for (const [at, value] of series.values) {
        const ms = at * 1000;
        if (times.length && ms - times.at(-1) > 1.5 * step) {
          times.push(times.at(-1) + step);
          values.push(null);
        }
        times.push(ms);
        values.push(Number.isFinite(Number(value)) ? Number(value) : null); // as Grafana draws it
      }
      const time = { name: 'Time', type: FieldType.time, values: times, config: {} };
      time.display = getDisplayProcessor({ field: time, theme, timeZone: 'utc' });
      const name = fill(target.legendFormat, series.metric);
      const frame = { refId: target.refId, fields: [time, field(panel, name, values, all.length, series.metric)], length: times.length };
      all.push(frame);
    }
  }
  return all;
}

function Stat({ panel, answers, step, width, height }) {
  const [frame] = frames(panel, answers, step);
  const value = frame?.fields[1];
  const instant = panel.targets.map((t) => answers[t.refId]?.[0]?.value?.[1])[0];
  const of = value ?? field(panel, panel.title, [Number(instant)], 0);
  const last = value ? reduceField({ field: value, reducers: ['lastNotNull'] }).lastNotNull : Number(instant);
  const shown = of.display(last);
  shown.title = undefined;
  const numbers = (value?.values ?? []).filter((v) => v !== null && !Number.isNaN(v));
  if (value) value.state.range = { min: Math.min(...numbers), max: Math.max(...numbers), delta: Math.max(...numbers) - Math.min(...numbers) };
  const sparkline = value && value.values.length > 1 ? { y: value, x: frame.fields[0] } : undefined;
  return <BigValue {...panel.options} theme={theme} value={shown} width={width} height={height} sparkline={sparkline} />;
}

// Marks where annotations are, as Grafana does below a chart.
function marks(look) {
  return (builder) => {
    builder.addHook('draw', (u) => {
      for (const { color, times } of look.annotations) {
        u.ctx.fillStyle = u.ctx.strokeStyle = theme.visualization.getColorByName(color);
        u.ctx.setLineDash([2, 4]);
        u.ctx.lineWidth = 1;
        for (const at of times) {
          const x = Math.round(u.valToPos(at * 1000, 'x', true));
          if (x < u.bbox.left || x > u.bbox.left + u.bbox.width) continue;
          u.ctx.beginPath();
          u.ctx.moveTo(x, u.bbox.top);
          u.ctx.lineTo(x, u.bbox.top + u.bbox.height);
          u.ctx.stroke();
          u.ctx.fillRect(x - 4, u.bbox.top + u.bbox.height, 8, 5);
        }
      }
    });
    return null;
  };
}

function Chart({ panel, answers, look, width, height }) {
  const range = { from: dateTime(look.from * 1000), to: dateTime(look.to * 1000), raw: { from: 'now-1h', to: 'now' } };
  return (
    <TimeSeries frames={frames(panel, answers, look.step * 1000)} timeRange={range} timeZone="utc" width={width} height={height} legend={panel.options.legend}>
      {marks(look)}
    </TimeSeries>
  );
}

// The rows of all queries, joined by their labels, as the transformations of the table do.
function Rows({ panel, answers, width, height }) {
  const { renameByName: names, indexByName: order } = panel.transformations.find((t) => t.id === 'organize').options;
  const rows = new Map();
  for (const target of panel.targets) {
    for (const { metric, value } of answers[target.refId] ?? []) {
      const key = JSON.stringify([metric.stream, metric.instance]);
      const row = rows.get(key) ?? { stream: metric.stream, instance: metric.instance };
      row[`Value #${target.refId}`] = Number(value[1]);
      rows.set(key, row);
    }
  }
  const first = 'Value #A';
  const sorted = [...rows.values()].sort((a, b) => (b[first] ?? 0) - (a[first] ?? 0));
  const columns = Object.entries(names).sort(([a], [b]) => order[a] - order[b]);
  const fields = columns.map(([key, name], i) => {
    const f = field(panel, name, sorted.map((r) => r[key]), i);
    if (!key.startsWith('Value')) {
      f.type = FieldType.string;
      f.display = (v) => ({ text: String(v), numeric: NaN });
    }
    return f;
  });
  return <Table data={{ fields, length: sorted.length }} width={width} height={height} />;
}

const KINDS = { stat: Stat, timeseries: Chart, table: Rows, heatmap: Heatmap, 'state-timeline': StateTimeline };

function Panel({ panel, look }) {
  const at = panel.gridPos;
  const style = { position: 'absolute', left: 16 + at.x * ((WIDTH + GAP) / COLUMNS), top: at.y * (ROW + GAP) };
  const [width, height] = [across(at.w), down(at.h)];
  if (panel.type === 'row') {
    return <div style={{ ...style, width, fontWeight: 500, fontSize: 16, paddingTop: 6 }}><Icon name="angle-down" /> {panel.title}</div>;
  }
  const answers = look.answers[panel.id] ?? {};
  const Kind = KINDS[panel.type];
  const link = <Icon key="link" name="external-link-alt" style={{ margin: 'auto 8px' }} />;
  return (
    <div style={{ ...style, width, height }} id={`panel-${panel.id}`} className="panel">
      <PanelChrome title={panel.title} description={panel.description} titleItems={link} width={width} height={height}>
        {(w, h) => <Kind panel={panel} answers={answers} frames={frames(panel, answers, look.step * 1000)} look={look} step={look.step * 1000} theme={theme} width={w} height={h} />}
      </PanelChrome>
    </div>
  );
}

// What a person would call broken: text that is cut, or that runs out of its panel.
window.problems = () => {
  const found = [];
  for (const panel of document.querySelectorAll('.panel')) {
    const title = panel.querySelector('h2');
    if (title && title.scrollWidth > title.clientWidth + 1) found.push(`the title ${JSON.stringify(title.textContent)} is cut`);
    for (const legend of panel.querySelectorAll('table, ul')) {
      const box = legend.parentElement;
      if (box.scrollWidth > box.clientWidth + 1) found.push(`the legend of ${JSON.stringify(title?.textContent)} is wider than its panel`);
    }
  }
  return found;
};

const look = await (await fetch(`/look.json${location.search}`)).json();
const bottom = Math.max(...look.dashboard.panels.map((p) => p.gridPos.y + p.gridPos.h));
document.body.style.cssText = `margin:0;width:1600px;height:${bottom * (ROW + GAP) + 48}px;background:${theme.colors.background.canvas}`;
createRoot(document.getElementById('page')).render(
  <ThemeContext.Provider value={theme}>
    <GlobalStyles />
    <div style={{ padding: '8px 16px', fontSize: 18 }}>{look.dashboard.title}</div>
    <div style={{ position: 'relative' }}>{look.dashboard.panels.map((p) => <Panel key={p.id} panel={p} look={look} />)}</div>
    <PortalContainer />
  </ThemeContext.Provider>,
);
await document.fonts.ready;
const wanted = look.dashboard.panels.filter((p) => p.type !== 'row').length;
const timer = setInterval(() => {
  if (document.querySelectorAll('.panel h2').length < wanted) return;
  clearInterval(timer);
  // The second frame comes after the layout of the first.
  requestAnimationFrame(() => requestAnimationFrame(() => { document.title = 'drawn'; }));
}, 50);
