// Sketches of the two kinds of panels that @grafana/ui has no component of.
import { getActiveThreshold } from '@grafana/data';
import { useEffect, useRef } from 'react';

const LEFT = 150; // for the names beside the bands
const BOTTOM = 22; // for the times

// Draws on a canvas of the device's own pixels.
function Canvas({ width, height, draw }) {
  const ref = useRef(null);
  useEffect(() => {
    const ctx = ref.current.getContext('2d');
    ctx.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    ctx.clearRect(0, 0, width, height);
    ctx.font = '12px Inter';
    draw(ctx);
  });
  return <canvas ref={ref} width={width * devicePixelRatio} height={height * devicePixelRatio} style={{ width, height, display: 'block' }} />;
}

function times(ctx, look, theme, left, width, height) {
  ctx.fillStyle = theme.colors.text.primary;
  ctx.textAlign = 'center';
  for (let i = 0; i <= 6; i++) {
    const at = look.from + ((look.to - look.from) * i) / 6;
    ctx.fillText(new Date(at * 1000).toISOString().slice(11, 19), Math.min(left + ((width - left) * i) / 6, width - 30), height - 6);
  }
}

export function StateTimeline({ panel, frames, look, theme, width, height }) {
  const steps = panel.fieldConfig.defaults.thresholds.steps.map((s) => ({ ...s, value: s.value ?? -Infinity }));
  const color = (value) => theme.visualization.getColorByName(getActiveThreshold(value, steps).color);
  const band = (height - BOTTOM) / Math.max(1, frames.length);
  const x = (ms) => LEFT + ((ms / 1000 - look.from) / (look.to - look.from)) * (width - LEFT);
  const draw = (ctx) => {
    frames.forEach((frame, i) => {
      const [time, value] = frame.fields;
      const top = i * band + band * (1 - panel.options.rowHeight) / 2;
      ctx.fillStyle = theme.colors.text.primary;
      ctx.textAlign = 'right';
      ctx.fillText(value.name, LEFT - 8, i * band + band / 2 + 4);
      value.values.forEach((v, j) => {
        if (v === null || Number.isNaN(v)) return;
        ctx.fillStyle = color(v);
        ctx.globalAlpha = panel.fieldConfig.defaults.custom.fillOpacity / 100;
        ctx.fillRect(x(time.values[j]), top, x(time.values[j] + look.step * 1000) - x(time.values[j]) + 0.5, band * panel.options.rowHeight);
        ctx.globalAlpha = 1;
      });
    });
    times(ctx, look, theme, LEFT, width, height);
  };
  return <Canvas width={width} height={height} draw={draw} />;
}

// The buckets of a histogram, classic or native: [low, high, at, count a second].
function cells(answers) {
  const all = [];
  for (const series of answers.A ?? []) {
    for (const [at, h] of series.histograms ?? []) {
      for (const [, low, high, count] of h.buckets ?? []) all.push([Number(low), Number(high), at, Number(count)]);
    }
  }
  if (all.length) return all;
  const classic = (answers.A ?? []).filter((s) => s.values).sort((a, b) => Number(a.metric.le) - Number(b.metric.le));
  let below = new Map();
  let low = 0;
  for (const series of classic) {
    const high = series.metric.le === '+Inf' ? low * 2 : Number(series.metric.le);
    const upTo = new Map(series.values.map(([at, v]) => [at, Number(v)]));
    for (const [at, v] of upTo) all.push([low, high, at, v - (below.get(at) ?? 0)]);
    [below, low] = [upTo, high];
  }
  return all;
}

export function Heatmap({ answers, look, theme, width, height }) {
  const all = cells(answers).filter(([, , , n]) => n > 1e-9);
  const floor = Math.min(...all.map(([low]) => low).filter((v) => v > 0));
  const high = Math.max(...all.map(([, h]) => h));
  const most = Math.max(...all.map(([, , , n]) => n));
  const left = 50;
  const x = (at) => left + ((at - look.from) / (look.to - look.from)) * (width - left);
  const y = (v) => (height - BOTTOM) * (1 - Math.log(Math.max(v, floor) / floor) / Math.log(high / floor));
  const draw = (ctx) => {
    for (const [low, up, at, n] of all) {
      ctx.fillStyle = `hsl(${250 - 240 * Math.sqrt(n / most)} 90% 55%)`;
      ctx.fillRect(x(at), y(up), x(at + look.step) - x(at), Math.max(1, y(low) - y(up) - 1));
    }
    ctx.fillStyle = theme.colors.text.primary;
    ctx.textAlign = 'right';
    for (const v of [0.1, 0.3, 1, 3, 10, 30, 100]) {
      if (v > floor && v < high) ctx.fillText(`${v} s`, left - 8, y(v) + 4);
    }
    times(ctx, look, theme, left, width, height);
  };
  return <Canvas width={width} height={height} draw={draw} />;
}
