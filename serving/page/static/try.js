// The view "Try": judge a picture, report a wrong verdict on it, and see what another false alarm rate means.

import { get, judge, keep, model, post } from "./api.js";
import { count, element, facts, number, percent } from "./dom.js";
import { fill } from "./tiles.js";

export function verdictOf(result) {
  return [
    element("p", {}, element("span", { class: result.isAnomalous ? "verdict alarm" : "verdict good" }, result.isAnomalous ? "Alarm" : "Good"), `: score ${number(result.score)}, alarm above ${number(result.threshold)} (version ${result.modelVersion}).`),
    ...result.warnings.map((words) => element("p", {}, `Warning: ${words}`)),
    element("figure", { class: "large" }, element("img", { src: `data:image/jpeg;base64,${result.image}`, alt: "The image with its heat map" })),
  ];
}

const calibratedOn = (found) =>
  found.captures ? count(found.captures, "capture", "captures") : count(found.calibrationImages, "calibration image", "calibration images");

// A picture is kept only when somebody says what it is: so a missed defect can be reported whose image was not kept.
function report(product, server, picture) {
  if (server.keep === "none") {
    return element("p", { class: "soft" }, "To report a wrong verdict here, start the server with ", element("code", {}, "--set keep.images=alarms"), " (or all).");
  }
  const said = element("p", { role: "status" });
  const button = (verdict, words) => element("button", { type: "button", class: verdict, onclick: () => say(verdict) }, words);
  const buttons = [button("good", "It is good"), button("defective", "It is defective")];
  async function say(verdict) {
    for (const each of buttons) each.disabled = true;
    try {
      const logId = await keep(product, picture);
      const { image } = await post("/feedback", { logId, verdict, who: localStorage.getItem("who") ?? "" });
      said.replaceChildren("Recorded, and the picture is kept. ", element("a", { href: `#image/${encodeURIComponent(image)}` }, "Show it"));
    } catch (error) {
      said.textContent = error.message;
      for (const each of buttons) each.disabled = false;
    }
  }
  return element("div", {}, element("p", {}, "What is this part really? If you say it, the picture is kept as feedback for the next version."), element("div", { class: "row" }, buttons), said);
}

export function show(main, { product, server }) {
  const answer = element("div", { "aria-live": "polite" });
  const file = element("input", { type: "file", id: "file", accept: "image/*", onchange: () => file.files[0] && judged(file.files[0]) });
  const drop = element("div", { class: "drop" }, element("label", { for: "file" }, "Drop a picture here, or choose one:"), file);
  for (const kind of ["dragover", "dragleave", "drop"]) {
    drop.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", kind === "dragover");
      if (kind === "drop" && event.dataTransfer.files[0]) judged(event.dataTransfer.files[0]);
    });
  }
  const point = element("div", { "aria-live": "polite" });
  // From 0.1 % to 20 %, by equal factors.
  const slider = element("input", { type: "range", id: "alpha", min: 0, max: 100, oninput: () => later() });
  const alpha = () => 0.001 * 200 ** (slider.value / 100);
  let timer = 0;
  const later = () => { clearTimeout(timer); timer = setTimeout(() => compare(alpha()), 150); };

  main.replaceChildren(
    element("h1", {}, `${product}: try`),
    element("section", { class: "card" }, element("h2", {}, "Judge a picture"), drop,
      element("p", { class: "soft" }, "The picture is judged as on the line. It is not kept unless you say what it is, and does not count for drift."), answer),
    element("section", { class: "card" }, element("h2", {}, "Another false alarm rate"),
      element("label", { for: "alpha" }, "Good parts that may raise a false alarm: fewer (left) or more (right)"), slider, point),
  );

  async function judged(picture) {
    answer.replaceChildren("Judging.");
    try {
      const shown = verdictOf(await judge(product, picture));
      // Above the picture, which may be longer than the screen.
      answer.replaceChildren(...shown.slice(0, -1), report(product, server, picture), shown.at(-1));
    } catch (error) {
      answer.replaceChildren(element("p", {}, error.message));
    }
  }

  async function compare(wanted) {
    try {
      const found = await get(`${model(product)}/alpha${wanted ? `?alpha=${wanted}` : ""}`);
      if (!wanted) slider.value = (100 * Math.log(found.alpha / 0.001)) / Math.log(200);
      const list = element("ul", { class: "tiles" });
      fill(list, product, found.changed);
      const unmet = found.promised > found.alpha * 1.0001;
      const same = found.threshold === found.now.threshold;
      point.replaceChildren(
        facts([
          ["Asked for", percent(found.alpha)],
          ["Guaranteed", `at most ${percent(found.promised)}${unmet ? `: ${calibratedOn(found)} cannot guarantee less` : ""}`],
          ["Alarm above", `score ${number(found.threshold)}${same ? " (as now)" : `; now ${number(found.now.threshold)}`}`],
        ]),
        element("p", {}, `${found.changed.length} of ${count(found.compared, "kept image", "kept images")} would get another verdict.`),
        list,
        same ? "" : element("p", { class: "soft" }, "To use it: ", element("code", {}, `uad serve ... --alpha ${Number(found.alpha.toPrecision(3))}`)),
      );
    } catch (error) {
      point.replaceChildren(element("p", {}, error.message));
    }
  }
  compare(null);
}
