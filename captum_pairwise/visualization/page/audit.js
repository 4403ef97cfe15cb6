"use strict";
// Report of an audit: tabs, clusters with examples, tables, and a list of pairs that opens one pair at a time.
const report = JSON.parse(document.getElementById("data").textContent);
const PAGE_SIZE = 50;
const find = (selector) => document.querySelector(selector);
const state = { kind: "all", text: "", start: 0, listed: [] };

function make(name, className, text) {
  const element = document.createElement(name);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

const percent = (value) => (value === null ? "–" : `${(100 * value).toFixed(1)} %`);
const withError = (mean) => (mean[0] === null ? "–" : `${percent(mean[0])}${mean[1] === null ? "" : ` ± ${(100 * mean[1]).toFixed(1)}`}`);
const shortName = (file) => report.files[file].split("/").slice(-2).join("/");

function decodeMap(text) {
  const bytes = atob(text);
  return Array.from(bytes, (letter) => (letter.charCodeAt(0) - 128) / 127);
}

// A picture with colours over its parts: red raises the similarity, blue lowers it; or one outlined part.
function showThumb(file, grid, map, part) {
  const holder = make("div", "thumb");
  const picture = report.thumbs[file];
  if (picture) {
    const image = make("img");
    image.src = picture;
    image.alt = report.files[file];
    holder.append(image);
  } else {
    holder.classList.add("empty");
    holder.title = `${report.files[file]}: the report has no picture of it`;
  }
  if (map || part !== undefined) holder.append(paintParts(grid, map, part));
  return holder;
}

function paintParts([rows, columns], map, part) {
  const scale = 32, canvas = make("canvas");
  canvas.width = columns * scale;
  canvas.height = rows * scale;
  canvas.setAttribute("aria-hidden", "true");
  const context = canvas.getContext("2d");
  (map || []).forEach((value, number) => {
    const [red, green, blue] = value > 0 ? [214, 47, 39] : [33, 102, 172];
    context.fillStyle = `rgba(${red}, ${green}, ${blue}, ${Math.abs(value) * 0.75})`;
    context.fillRect((number % columns) * scale, Math.floor(number / columns) * scale, scale, scale);
  });
  if (part !== undefined) {
    const place = [(part % columns) * scale + 4, Math.floor(part / columns) * scale + 4];
    for (const [width, colour] of [[8, "#fff"], [4, "#d62f27"]]) {
      context.lineWidth = width;
      context.strokeStyle = colour;
      context.strokeRect(...place, scale - 8, scale - 8);
    }
  }
  return canvas;
}

function fillClusters() {
  const list = find(".clusters");
  if (!report.clusters.length) list.append(make("li", "", "There are no clusters."));
  report.clusters.forEach((cluster) => {
    const item = make("li", "cluster"), title = make("h2", "", `Cluster ${cluster.number}`);
    if (cluster.suspect) title.append(make("span", "suspect", "suspected shortcut"));
    const examples = make("div", "examples");
    cluster.examples.forEach(([file, part]) => {
      const thumb = showThumb(file, report.grid, null, part);
      thumb.title = report.files[file];
      examples.append(thumb);
    });
    item.append(title, make("p", "", cluster.words), examples);
    list.append(item);
  });
}

function fillTable(table, head, rows) {
  const first = make("tr");
  head.forEach((text) => first.append(make("th", "", text)));
  table.replaceChildren(first);
  rows.forEach((cells) => {
    const row = make("tr");
    cells.forEach((text) => row.append(make("td", "", text)));
    table.append(row);
  });
}

function fillTags() {
  const rows = report.tags.filter((tag) => tag.split === find(".split").value);
  const format = (tag) => [tag.tag, withError(tag.credit), percent(tag.area), tag.ratio === null ? "–" : tag.ratio.toFixed(2), withError(tag.pairs), tag.n];
  fillTable(find(".tags"), ["tag", "credit", "area", "ratio", "pairs of parts with it", "pairs"], rows.map(format));
}

function fillRemovals() {
  const rows = report.removals.map((one) => [one.name, `${one.images}`, `${one.changed} of ${one.lists}`, percent(one.before), percent(one.after)]);
  fillTable(find(".removals"), ["without", "images that lost parts", "changed lists", "correct before", "correct after"], rows);
  if (!rows.length) find(".removals").replaceWith(make("p", "", "No parts were removed: no cluster is suspected, and no tag was named."));
}

const KINDS = {
  all: ["all pairs", () => true],
  worst: ["wrong hits, the most similar first", (pair) => report.pairs.correct[pair] === 0],
  unclear: ["pairs whose credits predict little (R² below 0.5)", (pair) => report.pairs.r2[pair] !== null && report.pairs.r2[pair] < 0.5],
};

function listPairs() {
  const { pairs } = report, wanted = state.text.toLowerCase();
  const matches = (pair) => !wanted || [pairs.query[pair], pairs.hit[pair]].some((file) => report.files[file].toLowerCase().includes(wanted));
  state.listed = pairs.query.map((_, pair) => pair).filter((pair) => KINDS[state.kind][1](pair) && matches(pair));
  if (state.kind === "worst") state.listed.sort((first, second) => pairs.similarity[second] - pairs.similarity[first]);
  const end = Math.min(state.start + PAGE_SIZE, state.listed.length);
  find(".count").textContent = state.listed.length ? `${state.start + 1} to ${end} of ${state.listed.length} pairs` : "No such pairs.";
  find(".pairs").replaceChildren(...state.listed.slice(state.start, end).map(showRow));
  find(".earlier").disabled = state.start === 0;
  find(".later").disabled = end >= state.listed.length;
}

const tellLabel = (pair) => ({ 0: "wrong", 1: "correct" })[report.pairs.correct[pair]] || "";

function showRow(pair) {
  const { pairs } = report, item = make("li"), button = make("button");
  button.type = "button";
  const names = make("span", "names", `${shortName(pairs.query[pair])} → ${shortName(pairs.hit[pair])} `);
  names.append(make("span", tellLabel(pair), tellLabel(pair)));
  button.append(showThumb(pairs.query[pair]), showThumb(pairs.hit[pair]), names, make("span", "value", pairs.similarity[pair].toFixed(3)));
  button.addEventListener("click", () => openPair(pair));
  item.append(button);
  return item;
}

function openPair(pair) {
  const { pairs } = report, holder = find(".pair"), both = make("div", "both");
  [["query", "Query"], ["hit", "Hit"]].forEach(([side, title]) => {
    const file = pairs[side][pair], box = make("div");
    box.append(make("h2", "", title), showThumb(file, pairs.grids[pair] || report.grid, decodeMap(pairs[`${side}_map`][pair])), make("p", "", report.files[file]));
    both.append(box);
  });
  const r2 = pairs.r2[pair], facts = [`similarity ${pairs.similarity[pair].toFixed(3)}`, tellLabel(pair), r2 === null ? "" : `R² ${r2.toFixed(2)}`];
  const close = make("button", "clear", "Close");
  close.type = "button";
  close.addEventListener("click", () => { holder.hidden = true; });
  const note = "Red parts raise the similarity while the other image is whole, blue parts lower it. R² says how well the credits predict the similarity when parts are missing.";
  holder.replaceChildren(make("h2", "", facts.filter(Boolean).join(" · ")), both, make("p", "hint", note), close);
  holder.hidden = false;
  holder.scrollIntoView({ block: "nearest" });
}

function chooseTab(chosen) {
  document.querySelectorAll("[role=tab]").forEach((tab, number) => {
    tab.setAttribute("aria-selected", String(number === chosen));
    find(`#panel${number}`).hidden = number !== chosen;
  });
}

function start() {
  document.querySelectorAll("[role=tab]").forEach((tab, number) => tab.addEventListener("click", () => chooseTab(number)));
  [...new Set(report.tags.map((tag) => tag.split))].forEach((split) => find(".split").append(new Option(split, split)));
  const kinds = Object.entries(KINDS).filter(([, [, holds]]) => report.pairs.query.some((_, pair) => holds(pair)));
  kinds.forEach(([kind, [words]]) => find(".kind").append(new Option(words, kind)));
  find(".split").addEventListener("change", fillTags);
  find(".kind").addEventListener("change", (event) => { Object.assign(state, { kind: event.target.value, start: 0 }); listPairs(); });
  find(".find").addEventListener("input", (event) => { Object.assign(state, { text: event.target.value, start: 0 }); listPairs(); });
  find(".earlier").addEventListener("click", () => { state.start -= PAGE_SIZE; listPairs(); });
  find(".later").addEventListener("click", () => { state.start += PAGE_SIZE; listPairs(); });
  fillClusters();
  fillTags();
  fillRemovals();
  listPairs();
}

start();
