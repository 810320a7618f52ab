// Small charts as SVG, with a sentence that says the same to who does not see them.

import { number, svg } from "./dom.js";

const HEIGHT = 160, LEFT = 6, BOTTOM = 18;
// As wide as the screen allows, so that text and points keep their size on a telephone.
const WIDTH = Math.max(280, Math.min(560, innerWidth - 60));

function frame(label) {
  return svg("svg", { class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label });
}

export function scores(verdicts, threshold) {
  const alarms = verdicts.filter((each) => each.isAnomalous).length;
  const chart = frame(`Scores of the last ${verdicts.length} images, ${alarms} of them alarms.`);
  const values = verdicts.map((each) => each.score);
  const low = Math.min(...values, threshold ?? Infinity), high = Math.max(...values, threshold ?? -Infinity);
  const y = (value) => 8 + (HEIGHT - 16) * (1 - (value - low) / (high - low || 1));
  const step = (WIDTH - 2 * LEFT) / Math.max(1, verdicts.length - 1);
  verdicts.forEach((each, index) => {
    const place = { cx: LEFT + index * step, cy: y(each.score), r: each.isAnomalous ? 4 : 2.5 };
    chart.append(svg("circle", { ...place, class: each.isAnomalous ? "score alarm" : "score" }));
  });
  if (threshold !== null && threshold !== undefined) {
    chart.append(svg("line", { x1: 0, x2: WIDTH, y1: y(threshold), y2: y(threshold), class: "threshold" }));
  }
  return chart;
}

export function hours(rows) {
  const most = Math.max(1, ...rows.map((row) => row.alarms));
  const chart = frame(`Alarms per hour: ${rows.map((row) => row.alarms).join(", ")}.`);
  const width = WIDTH / Math.max(rows.length, 12);
  rows.forEach((row, index) => {
    const height = ((HEIGHT - BOTTOM - 14) * row.alarms) / most;
    const x = index * width;
    chart.append(svg("rect", { x: x + 2, y: HEIGHT - BOTTOM - height, width: width - 4, height, class: "bar alarm" }));
    const label = svg("text", { x: x + width / 2, y: HEIGHT - 4, "text-anchor": "middle" });
    label.textContent = `${new Date(row.hour).getHours()} h`;
    const amount = svg("text", { x: x + width / 2, y: HEIGHT - BOTTOM - height - 3, "text-anchor": "middle" });
    amount.textContent = row.alarms;
    chart.append(label, amount);
  });
  return chart;
}

export function spread(calibration, score, threshold) {
  const { start, width, counts } = calibration;
  const low = Math.min(start, score), high = Math.max(start + width * counts.length, score, threshold);
  const x = (value) => 4 + ((WIDTH - 8) * (value - low)) / (high - low || 1);
  const most = Math.max(...counts);
  const chart = frame(`This image scores ${number(score)}; the threshold is ${number(threshold)}.`);
  counts.forEach((amount, index) => {
    const height = ((HEIGHT - BOTTOM) * amount) / most;
    const left = x(start + index * width);
    chart.append(svg("rect", { x: left, y: HEIGHT - BOTTOM - height, width: Math.max(1, x(start + (index + 1) * width) - left - 1), height, class: "bar" }));
  });
  for (const [value, kind] of [[threshold, "threshold"], [score, "mark"]]) {
    chart.append(svg("line", { x1: x(value), x2: x(value), y1: 0, y2: HEIGHT - BOTTOM, class: kind }));
  }
  return chart;
}
