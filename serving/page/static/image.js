// The view "One image": what was judged, where, why, and what people say.

import { get, judge, model, picture, post } from "./api.js";
import { spread } from "./charts.js";
import { element, facts, number, percent, svg, time } from "./dom.js";
import { verdictOf } from "./try.js";

const PARTS = {
  student: "the student network: fine texture differs from the good parts",
  memory: "the memory: nothing like it was seen in training",
  "whole image": "the whole image: something is missing, extra or misplaced",
};

export async function show(main, { product, rest, onLeave }) {
  const id = decodeURIComponent(rest);
  let image;
  try {
    image = await get(`${model(product)}/images/${encodeURIComponent(id)}`);
  } catch (error) {
    main.replaceChildren(element("h1", {}, "One image"), element("p", {}, error.message), element("a", { href: "#now" }, "Back to Now"));
    return;
  }
  const heat = element("img", { class: "over", src: picture(product, id, "heatmap"), alt: "" });
  const photo = element("img", { src: picture(product, id, "preview"), alt: `The judged image, ${image.isAnomalous ? "an alarm" : "judged good"}` });
  const boxes = regions(image.facts);
  const slider = element("input", { type: "range", id: "heat", min: 0, max: 100, value: 70, oninput: () => { heat.style.opacity = slider.value / 100; } });
  heat.style.opacity = 0.7;
  const full = element("button", { type: "button", onclick: () => { photo.src = picture(product, id, "original"); full.disabled = true; } }, "Load the full size");
  const again = element("div", { "aria-live": "polite" });

  main.replaceChildren(
    element("h1", {}, element("span", { class: image.isAnomalous ? "verdict alarm" : "verdict good" }, image.isAnomalous ? "Alarm" : "Good"), ` - ${product}, ${time(image.at)}`),
    element("div", { class: "grid" },
      element("section", {},
        element("figure", { class: "large" }, photo, heat, boxes),
        element("label", { for: "heat" }, "Heat map"), slider,
        element("div", { class: "row" },
          element("label", {}, element("input", { type: "checkbox", checked: true, onchange: (event) => boxes.toggleAttribute("hidden", !event.target.checked) }), " Show the marked regions"), full)),
      element("div", {}, feedback(product, image, () => show(main, { product, rest, onLeave })), why(image),
        element("section", { class: "card" }, element("h2", {}, `And version ${image.serving}, which serves now?`),
          element("button", { type: "button", onclick: (event) => judgeAgain(event.target) }, "Judge this image again"), again))),
    element("p", {}, element("a", { href: "#now" }, "Back to Now")),
  );
  const keys = (event) => { if (event.key === "Escape") location.hash = "#now"; };
  addEventListener("keydown", keys);
  onLeave(() => removeEventListener("keydown", keys));

  async function judgeAgain(button) {
    button.disabled = true;
    try {
      const blob = await (await fetch(picture(product, id, "original"))).blob();
      again.replaceChildren(...verdictOf(await judge(product, blob)));
    } catch (error) {
      again.replaceChildren(element("p", {}, error.message));
    }
    button.disabled = false;
  }
}

function regions(found) {
  const [height, width] = found.size ?? [1, 1];
  const shown = svg("svg", { class: "over", viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" });
  for (const region of found.regions ?? []) {
    const [x, y, w, h] = region.box;
    const place = { x, y, width: w, height: h };
    shown.append(svg("rect", { ...place, class: "box-shadow" }), svg("rect", { ...place, class: "box" }));
  }
  return shown;
}

function why(image) {
  const calibration = image.calibration, marked = image.facts.regions ?? [];
  const sameVersion = image.version === image.serving;
  return element("section", { class: "card" }, element("h2", {}, "Why"),
    facts([
      ["Score", `${number(image.score)}; an alarm is raised above ${number(image.threshold)}`],
      ["Warning", image.facts.warnings?.join(" ")],
      ["Among good parts", calibration && sameVersion ? `${calibration.asHigh} of ${calibration.images} good images of calibration scored as high or higher` : null],
      ["Raised by", PARTS[image.facts.raisedBy] ?? image.facts.raisedBy],
      ...(image.facts.zones ?? []).map((zone) => [`Zone ${zone.name}`, `score ${number(zone.score)}; an alarm is raised above ${number(zone.threshold)} (at most ${percent(zone.alpha)} of good parts)`]),
      ["Marked regions", `${marked.length + (image.facts.regionsOmitted ?? 0)}${marked.length ? `; the strongest is ${marked[0].box[2]} x ${marked[0].box[3]} px at ${marked[0].box[0]}, ${marked[0].box[1]}` : ""}`],
      ["Size", image.facts.size ? `${image.facts.size[1]} x ${image.facts.size[0]} px` : null],
      ["False alarm rate", image.facts.alpha ? `at most ${percent(image.facts.alpha)} of good parts` : null],
      ["Judged by", `version ${image.version}`],
      ["logId", image.logId],
    ]),
    calibration && sameVersion ? spread(calibration, image.score, image.threshold) : null,
    calibration && sameVersion ? element("p", { class: "soft" }, "Bars: scores of good images in calibration. Dashed: the threshold. Solid: this image.") : null);
}

function feedback(product, image, onSaid) {
  const who = element("input", { id: "who", maxLength: 100, autocomplete: "name", value: localStorage.getItem("who") ?? "" });
  const note = element("input", { id: "note", maxLength: 1000 });
  const said = element("p", { role: "status" });
  const button = (verdict, words) => element("button", { type: "button", class: verdict, onclick: () => say(verdict) }, words);
  async function say(verdict) {
    localStorage.setItem("who", who.value);
    try {
      await post("/feedback", { logId: image.logId, image: image.position, verdict, note: note.value, who: who.value });
      onSaid();
    } catch (error) {
      said.textContent = error.message;
    }
  }
  return element("section", { class: "card" }, element("h2", {}, "What is this part really?"),
    element("div", { class: "row" }, button("good", "It is good"), button("defective", "It is defective")),
    element("label", { for: "who" }, "Your name"), who, element("label", { for: "note" }, "Note"), note, said,
    image.kind === "disagreement" ? element("p", { class: "said" }, "People disagree about this image. It is not used until they agree.") : null,
    image.words.length ? element("ul", {}, image.words.map((word) => element("li", {}, `${time(word.at)}: ${word.who} says ${word.said}${word.note ? `: ${word.note}` : ""}`))) : null,
    image.kind && image.kind !== "disagreement" ? element("p", { class: "soft" }, USE[image.kind]) : null);
}

const USE = {
  "false alarm": "A false alarm. The next version trains with this image: uad retrain --with-feedback.",
  "missed defect": "A missed defect. The next version is tested on this image: uad retrain --with-feedback.",
  "confirmed defect": "The alarm was right.",
  "confirmed good": "The verdict was right.",
};
