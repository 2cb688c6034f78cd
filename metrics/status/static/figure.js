// A picture with a region marked in it.
import { make } from "./words.js";
import { svg } from "./draw.js";

// Figures are the two pictures of one frame: the camera's, and what the model sees of it.
export class Figures {
  constructor() {
    this.source = figure("The camera’s frame");
    this.tensor = figure("What the model sees");
    this.element = make("div", { class: "pictures" }, this.source.element, this.tensor.element);
  }

  show(p) {
    this.source.element.hidden = !p.source;
    this.tensor.element.hidden = !p.tensor;
    if (!p.tensor) return;
    const t = p.tensor;
    const rows = p.affines.length / p.columns;
    const one = { width: t.width / p.columns, height: t.height / rows };
    this.tensor.show(t, `${p.shape.replace(/^(\S+) (\S+) (\S+) (\S+)/, "$1×$2×$3×$4")}`);
    // The part of each of the tensor's pictures that the source fills; the rest is padding.
    const inTensor = p.affines.map(([a, , c, , e, f], i) => {
      const size = p.source ?? { width: a * one.width, height: e * one.height };
      const r = clip(-c / a, -f / e, (size.width - c) / a, (size.height - f) / e, one.width, one.height);
      return { ...r, x: r.x + (i % p.columns) * one.width, y: r.y + Math.floor(i / p.columns) * one.height };
    });
    this.tensor.mark(inTensor, t, false);
    if (!p.source) return;
    const lines = p.affines.length > 1 ? "parts inside the dashed lines" : "part inside the dashed line";
    this.source.show(p.source, `${p.source.width}×${p.source.height}; the model sees the ${lines}`);
    this.source.mark(p.affines.map(([a, , c, , e, f]) =>
      clip(c, f, a * one.width + c, e * one.height + f, p.source.width, p.source.height)), p.source, true);
  }
}

export const dataURL = (image) => `data:${image.type};base64,${image.data}`;

const clip = (x0, y0, x1, y1, w, h) => ({
  x: Math.max(x0, 0), y: Math.max(y0, 0),
  width: Math.min(x1, w) - Math.max(x0, 0), height: Math.min(y1, h) - Math.max(y0, 0),
});

// bounds returns the rectangle around all regions: tiles leave nothing out between them.
function bounds(regions) {
  const x = Math.min(...regions.map((r) => r.x));
  const y = Math.min(...regions.map((r) => r.y));
  return {
    x, y, width: Math.max(...regions.map((r) => r.x + r.width)) - x, height: Math.max(...regions.map((r) => r.y + r.height)) - y,
  };
}

function figure(title) {
  const img = make("img", { alt: title });
  const marks = svg("svg", { preserveAspectRatio: "none", "aria-hidden": "true" });
  const frame = make("div", { class: "frame" }, img, marks);
  const caption = make("figcaption");
  const element = make("figure", { hidden: "" }, frame, caption);
  return {
    element,
    show(image, text) {
      // Two figures side by side have the same height.
      const ratio = image.width / image.height;
      element.style.flex = `${ratio} 1 ${Math.max(ratio * 11, 9)}rem`;
      frame.style.aspectRatio = ratio;
      img.src = dataURL(image);
      caption.replaceChildren(make("b", {}, title), ` ${text}`);
    },
    // mark outlines regions, and may shade what is outside of all of them.
    mark(regions, size, shade) {
      marks.setAttribute("viewBox", `0 0 ${size.width} ${size.height}`);
      const whole = (r) => r.width >= size.width - 0.5 && r.height >= size.height - 0.5;
      if (!shade && regions.length === 1 && whole(regions[0])) {
        marks.replaceChildren();
        return;
      }
      const all = bounds(regions);
      const hole = `M0 0H${size.width}V${size.height}H0ZM${all.x} ${all.y}v${all.height}h${all.width}v${-all.height}Z`;
      marks.replaceChildren(...(shade ? [svg("path", { class: "shade", d: hole })] : []),
        ...regions.flatMap((r) => [svg("rect", { class: "under", ...r }), svg("rect", { class: "region", ...r })]));
    },
  };
}
