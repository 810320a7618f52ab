// The view "Zones": draw regions to ignore on a good image, and save them for `uad zones`.

import { get, model, picture } from "./api.js";
import { element, svg } from "./dom.js";

const STEP = 0.01;

export function show(main, { product, onLeave }) {
  let shapes = [], open = [], cross = [0.5, 0.5], local = null, kept = [];
  const photo = element("img", { alt: "The image to draw on" });
  const layer = svg("svg", { class: "over drawing", viewBox: "0 0 1 1", preserveAspectRatio: "none", tabindex: "0", role: "application", "aria-label": "Drawing. Arrow keys move the cross, space sets a corner, Enter closes the zone, Backspace removes the last corner." });
  const yaml = element("textarea", { id: "yaml", rows: 8, readOnly: true });
  const choose = element("select", { id: "which", onchange: () => { local = null; photo.src = picture(product, choose.value, "preview"); draw(); } });
  const file = element("input", { type: "file", id: "own", accept: "image/*", onchange: () => useFile() });
  const note = element("p", { class: "soft", role: "status" });

  main.replaceChildren(
    element("h1", {}, `${product}: zones`),
    element("p", {}, "Draw around what the detector should ignore: glare, a date stamp, the background. Click the corners one by one."),
    element("div", { class: "row" }, element("label", {}, "Kept image ", choose), element("label", {}, "or your own ", file)),
    element("figure", { class: "large" }, photo, layer),
    element("div", { class: "row" },
      element("button", { type: "button", class: "main", onclick: () => close() }, "Close the zone"),
      element("button", { type: "button", onclick: () => undo() }, "Remove the last corner"),
      element("button", { type: "button", onclick: () => { shapes = []; open = []; draw(); } }, "Start again"),
      element("button", { type: "button", onclick: () => save() }, "Save zones.yaml")),
    note,
    element("label", { for: "yaml" }, "The file"), yaml,
    element("p", {}, "Then run ", element("code", {}, `uad zones ${product} --ignore zones.yaml`), ". It makes a new version to train; the one that serves does not change."),
  );

  layer.addEventListener("pointerdown", (event) => {
    const place = layer.getBoundingClientRect();
    cross = [(event.clientX - place.left) / place.width, (event.clientY - place.top) / place.height].map(within);
    open.push(cross);
    draw();
  });
  layer.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] }[event.key];
    if (step) cross = [within(cross[0] + step[0]), within(cross[1] + step[1])];
    else if (event.key === " ") open.push(cross);
    else if (event.key === "Enter") close();
    else if (event.key === "Backspace") undo();
    else return;
    event.preventDefault();
    draw();
  });

  function close() {
    if (open.length < 3) {
      note.textContent = "A zone needs three corners or more.";
      return;
    }
    shapes.push(open);
    open = [];
    note.textContent = "";
    draw();
  }

  function undo() {
    if (!open.length && shapes.length) open = shapes.pop();
    open.pop();
    draw();
  }

  function draw() {
    const points = (shape) => shape.map((point) => point.join(",")).join(" ");
    layer.replaceChildren(
      ...shapes.map((shape) => svg("polygon", { points: points(shape), class: "zone" })),
      svg("polyline", { points: points(open), class: "zone open" }),
      ...open.map(([x, y]) => svg("circle", { cx: x, cy: y, r: 0.006, class: "point" })),
      svg("path", { d: `M${cross[0] - 0.02},${cross[1]}h.04M${cross[0]},${cross[1] - 0.02}v.04`, class: "cross" }),
    );
    yaml.value = text();
  }

  function text() {
    if (!shapes.length) return "# Close a zone first.\n";
    const lines = shapes.map((shape) => `  - [${shape.map(([x, y]) => `[${round(x)}, ${round(y)}]`).join(", ")}]`);
    const size = shape();
    return `# Corners as fractions of the image's width and height.\n${size ? `size: [${size.join(", ")}]\n` : ""}ignore:\n${lines.join("\n")}\n`;
  }

  // Width and height of the image that is drawn on, so that zones for other images are refused.
  function shape() {
    if (local) return photo.naturalWidth ? [photo.naturalWidth, photo.naturalHeight] : null;
    const size = kept.find((image) => image.id === choose.value)?.size;
    return size ? [size[1], size[0]] : null;
  }

  function save() {
    if (!shapes.length) {
      note.textContent = "Close a zone first.";
      return;
    }
    const address = URL.createObjectURL(new Blob([text()], { type: "application/yaml" }));
    const link = element("a", { href: address, download: "zones.yaml" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(address), 1000);
  }

  function useFile() {
    if (!file.files[0]) return;
    if (local) URL.revokeObjectURL(local);
    local = URL.createObjectURL(file.files[0]);
    photo.onload = draw;
    photo.src = local;
  }

  get(`${model(product)}/images?good=true`).then((found) => {
    const good = [...found.images.filter((image) => !image.isAnomalous), ...found.images.filter((image) => image.isAnomalous)];
    kept = found.images;
    choose.replaceChildren(...good.map((image) => element("option", { value: image.id }, `${image.isAnomalous ? "Alarm" : "Good"}, ${new Date(image.at).toLocaleString()}`)));
    if (kept.length) photo.src = picture(product, kept[0].id, "preview");
    else note.textContent = "No image is kept. Choose one of your own.";
  }, (error) => { note.textContent = error.message; });
  onLeave(() => local && URL.revokeObjectURL(local));
  draw();
}

const within = (value) => Math.min(1, Math.max(0, value));
const round = (value) => Number(value.toFixed(4));
