// Ask a uad server about one image. Node.js 18 or later, no packages.
//
// Run:  node client.js IMAGE OUTPUT.jpg [URL]
//       node client.js --feedback LOG_ID good|defective [NOTE [URL]]
//
// If the server wants an API key, set it in the environment variable UAD_API_KEY.
"use strict";

const { readFile, writeFile } = require("node:fs/promises");

const DEFAULT_URL = "http://localhost:8080/image-anomaly-detection";
const FEEDBACK_URL = "http://localhost:8080/feedback";
const USAGE = `usage: node client.js IMAGE OUTPUT.jpg [URL]
       node client.js --feedback LOG_ID good|defective [NOTE [URL]]`;
const TIMEOUT_MILLISECONDS = 60_000;

/** Send the bytes of an image file; return the answer with its `result`. */
function ask(url, image) {
  return post(url, { image: image.toString("base64") });
}

/** Say that a judged image is `good` or `defective`; return the answer with its `result`. */
function say(url, logId, verdict, note) {
  return post(url, { logId, verdict, note });
}

async function post(url, values) {
  const headers = { "Content-Type": "application/json" };
  if (process.env.UAD_API_KEY) {
    headers.Authorization = `Bearer ${process.env.UAD_API_KEY}`;
  }
  const response = await fetch(url, {
    method: "POST",
    headers,
    body: JSON.stringify(values),
    signal: AbortSignal.timeout(TIMEOUT_MILLISECONDS),
  });
  const answer = await response.json(); // errors come in the same envelope
  if (answer.errorCode !== 0) {
    throw new Error(`${answer.errorCode}: ${answer.errorMsg}`);
  }
  return answer;
}

async function feedback([logId, verdict, note = "", url = FEEDBACK_URL]) {
  const { judged, said } = (await say(url, logId, verdict, note)).result;
  console.log(`recorded: judged ${judged}, said ${said}`);
}

async function analyse([image, output, url = DEFAULT_URL]) {
  const { logId, result } = await ask(url, await readFile(image));
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
  console.log("log id:", logId);
  console.log("picture:", output);
}

const args = process.argv.slice(2);
const isFeedback = args[0] === "--feedback";
if (isFeedback ? args.length < 3 || args.length > 5 : args.length < 2 || args.length > 3) {
  console.error(USAGE);
  process.exit(2);
}
(isFeedback ? feedback(args.slice(1)) : analyse(args)).catch((error) => {
  console.error("error:", error.cause ? `${error.message}: ${error.cause.message}` : error.message);
  process.exitCode = 1;
});
