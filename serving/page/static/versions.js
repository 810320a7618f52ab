// The view "Versions": which version serves, which waits, who promoted what and why.

import { get, model, post } from "./api.js";
import { element, facts, number, percent, time } from "./dom.js";

export async function show(main, context, again = false) {
  const { product } = context;
  if (!again) main.replaceChildren(element("h1", {}, `${product}: versions`), element("p", {}, "Loading."));
  let found;
  try {
    found = await get(`${model(product)}/versions`);
  } catch (error) {
    main.replaceChildren(element("h1", {}, `${product}: versions`), element("p", {}, error.message));
    return;
  }
  if (!found.registered) {
    main.replaceChildren(element("h1", {}, `${product}: versions`), element("p", {}, "This model is a folder. It has no versions. Register it: uad register."));
    return;
  }
  const champion = found.versions.find((each) => each.aliases.includes("champion"))?.version ?? null;
  const isNew = champion !== null && found.serving !== champion;
  main.replaceChildren(
    element("h1", {}, `${product}: versions`),
    element("p", { role: "status" }, `Version ${found.serving} judges the images.${isNew ? ` The champion is version ${champion}. The server loads it within seconds, unless it is pinned or fails its checks.` : ""}`),
    ...found.versions.map((version) => card(version, found, champion, context, main)),
    element("h2", {}, "Every promotion"),
    history(found.history),
    element("p", { class: "soft", hidden: found.mayPromote }, "Promotion is not possible on this port. Use the administrators' port, or a command: ", element("code", {}, `uad promote ${found.name} VERSION`)),
  );
  if (isNew && !again) {
    const timer = setTimeout(() => show(main, context, true), 5000);
    context.onLeave(() => clearTimeout(timer));
  }
}

function card(version, found, champion, context, main) {
  const roles = version.aliases.map((alias) => ({ champion: "champion: it serves", challenger: "challenger: it waits" })[alias] ?? alias);
  const figure = (name, shown) => (name in version.metrics ? shown(version.metrics[name]) : null);
  return element("section", { class: "card" },
    element("h2", {}, `Version ${version.version}${roles.length ? ` (${roles.join(", ")})` : ""}`),
    facts([
      ["Made", time(version.created)],
      ["What it is", version.description],
      ["Gate", version.gate ? `${version.decision}: ${version.gate}` : null],
      ["Defects found", figure("recall", (share) => `${percent(share)} of the defective test images`)],
      ["False alarms", figure("false_alarm_rate", (share) => `${percent(share)} of the good test images`)],
      ["Alarm above", figure("threshold", (value) => `score ${number(value)}`)],
      ["Trained on", version.dataset],
    ]),
    found.mayPromote && version.version !== champion ? promotion(version, champion, context, main) : null);
}

function promotion(version, champion, context, main) {
  const why = element("input", { maxLength: 1000, required: true, "aria-label": `Why version ${version.version}` });
  const said = element("span", { role: "alert", hidden: true });
  async function promote(event) {
    event.preventDefault();
    try {
      await post(`${model(context.product)}/promote`, { version: version.version, champion, why: why.value, who: localStorage.getItem("who") ?? "" });
      await show(main, context);
    } catch (error) {
      said.textContent = error.message;
      said.hidden = false;
    }
  }
  return element("form", { class: "row", onsubmit: promote }, element("label", {}, "Why ", why), element("button", { class: "main" }, `Make version ${version.version} the champion`), said);
}

function history(moves) {
  if (!moves.length) return element("p", {}, "No version has been promoted yet.");
  const rows = moves.map((move) => element("tr", {}, element("td", {}, time(move.at)), element("td", {}, WORDS[move.kind](move)), element("td", {}, move.who), element("td", {}, move.why)));
  return element("div", { class: "scroll" }, element("table", { class: "stack" }, element("thead", {}, element("tr", {}, ...["When", "What", "Who", "Why"].map((name) => element("th", { scope: "col" }, name)))), element("tbody", {}, rows)));
}

const WORDS = {
  promote: (move) => (move.from ? `Promoted: version ${move.to} in place of ${move.from}` : `Promoted: version ${move.to}`),
  rollback: (move) => `Back from version ${move.from} to ${move.to}`,
  external: (move) => (move.to ? `Moved to version ${move.to} outside uad` : "Removed outside uad"),
};
