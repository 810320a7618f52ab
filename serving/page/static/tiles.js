// Kept images as tiles: picture, verdict, score, and what a person said.

import { picture } from "./api.js";
import { element, number, time } from "./dom.js";

export function tile(product, image) {
  return element(
    "a",
    { class: image.isAnomalous ? "tile alarm" : "tile", href: `#image/${encodeURIComponent(image.id)}` },
    element("img", { src: picture(product, image.id, "preview"), alt: "", loading: "lazy", decoding: "async" }),
    element("span", { class: image.isAnomalous ? "verdict alarm" : "verdict good" }, image.isAnomalous ? "Alarm" : "Good"),
    element("span", {}, `Score ${number(image.score)}`),
    element("span", { class: "soft" }, time(image.at)),
    image.kind ? element("span", { class: "said" }, saidWords(image)) : null,
  );
}

export function saidWords(image) {
  return { disagreement: "People disagree" }[image.kind] ?? `Marked ${image.said}`;
}

// Shows `images` in `list`; tiles that did not change stay, so that pictures are not loaded again.
export function fill(list, product, images) {
  const old = new Map([...list.children].map((item) => [item.dataset.key, item]));
  list.replaceChildren(
    ...images.map((image) => {
      const key = JSON.stringify([product, image.id, image.said, image.kind]);
      if (old.has(key)) return old.get(key);
      const item = element("li", {}, tile(product, image));
      item.dataset.key = key;
      return item;
    }),
  );
}
