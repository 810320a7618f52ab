// The view "Now": is the line well, and what were the last images?

import { get, model } from "./api.js";
import { hours, scores } from "./charts.js";
import { count, element, facts, number, percent, time } from "./dom.js";
import { fill } from "./tiles.js";

const EVERY_MS = 3000;

export function show(main, { product, server, onLeave, trouble }) {
  const status = element("div", { class: "card", "aria-live": "polite" }, "Loading.");
  const line = element("div"), alarms = element("div"), drift = element("div");
  const tiles = element("ul", { class: "tiles", "aria-label": "Kept images, newest first" });
  const older = element("button", { type: "button", hidden: true, onclick: () => more() }, "Show older images");
  const only = element("select", { "aria-label": "Which images", onchange: () => render() },
    ...[["all", "All kept images"], ["alarm", "Alarms only"], ["said", "Marked by people"]].map(([value, words]) => element("option", { value }, words)));
  let state = null, kept = [], revision = -1, versions = null;

  main.replaceChildren(
    element("h1", {}, `${product}: now`),
    status,
    element("div", { class: "grid" },
      element("section", { class: "card" }, element("h2", {}, "Scores of the last images"), line),
      element("section", { class: "card" }, element("h2", {}, "Alarms per hour"), alarms)),
    element("section", { class: "card" }, element("h2", {}, "Are the images still like those of calibration?"),
      element("button", { type: "button", onclick: (event) => compare(event.target) }, "Compare the last 24 hours"), drift),
    element("div", { class: "row" }, element("h2", {}, "Last images"), only),
    server.keep === "alarms" ? missed() : "",
    tiles, older,
  );

  async function update() {
    if (document.hidden) return;
    try {
      const found = await get(`${model(product)}/now?revision=${revision}`);
      trouble("");
      if (found === null) return;
      state = found;
      revision = found.revision;
      const newest = new Set(found.images.map((image) => image.id));
      const oldest = found.images.at(-1)?.at ?? "";
      kept = [...found.images, ...kept.filter((image) => !newest.has(image.id) && image.at < oldest)];
      older.hidden = found.images.length < 60;
      render();
    } catch (error) {
      trouble(`The server does not answer: ${error.message} What you see may be old.`);
    }
  }

  async function more() {
    const last = kept.at(-1);
    const found = await get(`${model(product)}/images?before=${encodeURIComponent(last.at)}`);
    kept = [...kept, ...found.images];
    older.hidden = found.images.length === 0;
    render();
  }

  function render() {
    if (state === null) return;
    const champion = versions?.versions?.find((each) => each.version === state.serving);
    const move = versions?.history?.find((each) => each.to === state.serving);
    const waiting = versions?.versions?.find((each) => each.aliases.includes("challenger"));
    status.replaceChildren(
      element("p", {}, state.ready ? `Not ready: ${state.ready}.` : `Version ${state.serving} judges the images.`),
      facts([
        ["Warning", state.warnings.length ? `The last image: ${state.warnings.join(" ")}` : null],
        ["Since", move ? `${time(move.at)}, ${move.who}: ${move.why || "no reason given"}` : null],
        ["Alarm above", state.threshold === null ? null : `score ${number(state.threshold)}`],
        ["Guaranteed", state.alpha === null ? null : `at most ${percent(state.alpha)} of good parts raise a false alarm`],
        ["Waiting", waiting ? `version ${waiting.version} is the challenger; see Versions` : champion ? "no challenger" : null],
        ["Pinned", state.pinned ? `to version ${state.pinned}; promotions are ignored` : null],
        ["Registry", state.registry === "down" ? "does not answer; this version keeps serving" : null],
      ]),
    );
    const recent = state.recent;
    line.replaceChildren(
      ...(recent.length
        ? [scores(recent, state.threshold), element("p", { class: "soft" }, `${count(recent.length, "image", "images")} since ${time(recent[0].at)}. The dashed line is the threshold; red points are alarms.`)]
        : [element("p", { class: "soft" }, "No image was judged since the server started.")]),
    );
    const total = state.hours.reduce((sum, row) => sum + row.images, 0), bad = state.hours.reduce((sum, row) => sum + row.alarms, 0);
    alarms.replaceChildren(hours(state.hours), element("p", { class: "soft" }, `${count(bad, "alarm", "alarms")} in ${count(total, "image", "images")} since the server started (at most 24 hours).`));
    const wanted = kept.filter((image) => only.value === "all" || (only.value === "alarm" ? image.isAnomalous : image.kind));
    fill(tiles, product, wanted);
    if (!wanted.length) tiles.replaceChildren(element("li", {}, nothing()));
  }

  function missed() {
    return element("p", { class: "soft" }, "Only images with an alarm are kept. To report a missed defect, judge its picture in the view ", element("a", { href: "#try" }, "Try"), " and say there that it is defective. To see good verdicts here too, start the server with ", element("code", {}, "--set keep.images=all"), ".");
  }

  function nothing() {
    if (server.keep === "none") return "No images are kept. To see them here, start the server with --set keep.images=alarms (or all).";
    return server.keep === "alarms" ? "No alarm was kept yet." : "No image was kept yet.";
  }

  async function compare(button) {
    button.disabled = true;
    drift.replaceChildren("Comparing.");
    try {
      const found = await get(`${model(product)}/drift`);
      const list = element("ul", { class: "tiles" });
      fill(list, product, found.moved);
      const range = found.expected ? ` Expected: ${found.expected[0]} to ${found.expected[1]}.` : "";
      const words = found.images === 0 ? "No score of the last 24 hours is recorded for this version."
        : found.detected ? `Scores are ${found.direction} than in calibration. The parts or the light have changed, or there are defects. Look at these images and say which are good.`
          : found.tooManyAlarms ? "There are more alarms than expected: defects, or good parts that look different. Look at these images and say which are good."
            : "Scores are like those of calibration. Nothing to do.";
      drift.replaceChildren(element("p", {}, words), element("p", { class: "soft" }, found.images ? `${count(found.images, "image", "images")}, ${count(found.alarms, "alarm", "alarms")}.${range}` : ""), list);
    } catch (error) {
      drift.replaceChildren(element("p", {}, error.message));
    }
    button.disabled = false;
  }

  get(`${model(product)}/versions`).then((found) => { versions = found; render(); }, () => {});
  update();
  const timer = setInterval(update, EVERY_MS);
  onLeave(() => clearInterval(timer));
}
