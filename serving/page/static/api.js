// What the page asks the server. Everything goes to the server that the page came from.

export class Refused extends Error {}

async function result(response) {
  if (response.status === 204) return null;
  if (response.status === 401) {
    location.assign("/");
    throw new Refused("Sign in again.");
  }
  const body = await response.json().catch(() => ({ errorMsg: "The server gave no readable answer." }));
  if (!response.ok) throw new Refused(body.errorMsg);
  return body.result;
}

export async function get(path) {
  return result(await fetch(path, { credentials: "same-origin" }));
}

export async function post(path, values) {
  const headers = { "Content-Type": "application/json" };
  return result(await fetch(path, { method: "POST", headers, body: JSON.stringify(values) }));
}

export async function judge(product, file) {
  const form = new FormData();
  form.append("image", file);
  form.append("labelMap", "rle");
  return result(await fetch(`${model(product)}/try`, { method: "POST", body: form }));
}

export const model = (product) => `/page/models/${encodeURIComponent(product)}`;
export const picture = (product, id, kind) => `${model(product)}/images/${encodeURIComponent(id)}/${kind}`;
