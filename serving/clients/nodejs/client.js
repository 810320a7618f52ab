// Ask a uad server about one image. Node.js 18 or later, no packages.
//
// Run:  node client.js IMAGE OUTPUT.jpg [URL]
//
// If the server wants an API key, set it in the environment variable UAD_API_KEY.
"use strict";

const { readFile, writeFile } = require("node:fs/promises");

const DEFAULT_URL = "http://localhost:8080/image-anomaly-detection";
const TIMEOUT_MILLISECONDS = 60_000;

/** Send the bytes of an image file; return the `result` object of the answer. */
async function ask(url, image) {
  const headers = { "Content-Type": "application/json" };
  if (process.env.UAD_API_KEY) {
    headers.Authorization = `Bearer ${process.env.UAD_API_KEY}`;
  }
  const response = await fetch(url, {
    method: "POST",
    headers,
    body: JSON.stringify({ image: image.toString("base64") }),
    signal: AbortSignal.timeout(TIMEOUT_MILLISECONDS),
  });
  const answer = await response.json(); // errors come in the same envelope
  if (answer.errorCode !== 0) {
    throw new Error(`${answer.errorCode}: ${answer.errorMsg}`);
  }
  return answer.result;
}

async function main([image, output, url = DEFAULT_URL]) {
  const result = await ask(url, await readFile(image));
  await writeFile(output, Buffer.from(result.image, "base64"));
  const [height, width] = result.size;
  // labelMap is row by row: the pixel in row y and column x is labelMap[y * width + x].
  const anomalousPixels = result.labelMap.filter((label) => label !== 0).length;
  console.log("score:", result.score);
  console.log("verdict:", result.isAnomalous ? "anomalous" : "normal");
  console.log("size:", height, "x", width);
  console.log("anomalous pixels:", anomalousPixels);
  console.log("regions:", result.regions.length + result.regionsOmitted);
  result.regions.forEach((region, index) => { // largest score first
    const [x, y, width, height] = region.box;
    console.log(`region ${index + 1}: x ${x}, y ${y}, width ${width}, height ${height}`);
  });
  console.log("picture:", output);
}

const args = process.argv.slice(2);
if (args.length !== 2 && args.length !== 3) {
  console.error("usage: node client.js IMAGE OUTPUT.jpg [URL]");
  process.exit(2);
}
main(args).catch((error) => {
  console.error("error:", error.cause ? `${error.message}: ${error.cause.message}` : error.message);
  process.exitCode = 1;
});
