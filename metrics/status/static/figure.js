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
}

export const dataURL = (image) => `data:${image.type};base64,${image.data}`;

const clip = (x0, y0, x1, y1, w, h) => ({
  x: Math.max(x0, 0), y: Math.max(y0, 0),
  width: Math.min(x1, w) - Math.max(x0, 0), height: Math.min(y1, h) - Math.max(y0, 0),
});

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
