// Elements from plain values. Text is set as text, so nothing that a name or note holds is run.

export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "class") made.className = value;
    else if (name in made && name !== "list" && name !== "form") made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

export function svg(tag, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

export function facts(rows) {
  const shown = rows.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return element("dl", {}, shown.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]));
}

export const number = (value) => (value === null || value === undefined ? "-" : Number(value).toPrecision(4).replace(/\.?0+$/, (zeros) => (zeros.startsWith(".") ? "" : zeros)));
export const percent = (share) => `${Number((100 * share).toPrecision(3))} %`;
export const time = (text) => new Date(text).toLocaleString([], { dateStyle: "short", timeStyle: "medium" });
export const count = (amount, one, many) => `${amount} ${amount === 1 ? one : many}`;
