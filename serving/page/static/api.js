// What the page asks the server. Everything goes to the server that the page came from.

export class Refused extends Error {}

async function envelope(response) {
  if (response.status === 401) {
    location.assign("/");
    throw new Refused("Sign in again.");
  }
  const body = await response.json().catch(() => ({ errorMsg: "The server gave no readable answer." }));
  if (!response.ok) throw new Refused(body.errorMsg);
  return body;
}

const result = async (response) => (response.status === 204 ? null : (await envelope(response)).result);

export async function get(path) {
  return result(await fetch(path, { credentials: "same-origin" }));
}

export async function post(path, values) {
  const headers = { "Content-Type": "application/json" };
  return result(await fetch(path, { method: "POST", headers, body: JSON.stringify(values) }));
}

export async function judge(product, file) {
  return result(await tried(product, file));
}

// Has the server keep the picture; the answer's logId, so that a person can say what it is.
export async function keep(product, file) {
  return (await envelope(await tried(product, file, "?keep=true"))).logId;
}

function tried(product, file, options = "") {
  const form = new FormData();
  form.append("image", file);
  form.append("labelMap", "rle");
  return fetch(`${model(product)}/try${options}`, { method: "POST", body: form });
}

export const model = (product) => `/page/models/${encodeURIComponent(product)}`;
export const picture = (product, id, kind) => `${model(product)}/images/${encodeURIComponent(id)}/${kind}`;
