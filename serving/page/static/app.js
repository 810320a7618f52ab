// The page's frame: which product, which view.

import { get } from "./api.js";
import { element } from "./dom.js";
import * as image from "./image.js";
import * as now from "./now.js";
import * as trial from "./try.js";
import * as versions from "./versions.js";
import * as zones from "./zones.js";

const VIEWS = { now, image, try: trial, zones, versions };
const main = document.querySelector("main"), select = document.querySelector("#product");
const alarm = document.querySelector("#trouble");
let leave = [];

function trouble(words) {
  alarm.hidden = !words;
  if (alarm.textContent !== words) alarm.textContent = words;
}

function route(server) {
  for (const end of leave) end();
  leave = [];
  const [view, ...rest] = location.hash.slice(1).split("/");
  const name = view in VIEWS ? view : "now";
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#${name === "image" ? "now" : name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  trouble("");
  document.title = `${select.value} - uad`;
  VIEWS[name].show(main, { product: select.value, server, rest: rest.join("/"), onLeave: (end) => leave.push(end), trouble });
}

async function begin() {
  const server = await get("/page/server");
  select.replaceChildren(...server.products.map((product) => element("option", { value: product.name }, product.name)));
  const last = localStorage.getItem("product");
  if (server.products.some((product) => product.name === last)) select.value = last;
  document.querySelector("#sign-out").hidden = !server.needsKey;
  select.addEventListener("change", () => {
    localStorage.setItem("product", select.value);
    if (location.hash.startsWith("#image/")) location.hash = "#now";
    else route(server);
  });
  addEventListener("hashchange", () => { route(server); main.focus(); scrollTo(0, 0); });
  route(server);
}

begin().catch((error) => trouble(error.message));
