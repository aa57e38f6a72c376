// SPDX-License-Identifier: Apache-2.0
"use strict";
const $ = (id) => document.getElementById(id);
let info = { classes: [], bits: 0, takes_pictures: false };
let picture = null;   // the File that is searched; null: an item of the index
let large = null;     // the item that is shown in full size
let asked = 0;        // searches so far, so that a late answer of an older one is dropped
const seen = new Set();  // those of which a picture came

const make = (tag, className, text) => {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
};

// Bits as a strip, at most 64 a line; only those that are set are drawn.
function strip(bits, label) {
  const width = Math.min(bits.length, 64), height = width <= 32 ? 2.5 : 5;
  let path = "";
  for (let j = 0; j < bits.length; ++j) {
    if (bits[j] === "1") {
      path += `M${j % width} ${Math.floor(j / width) * height}h.86v${height * .92}h-.86z`;
    }
  }
  const ns = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(ns, "svg"), shape = document.createElementNS(ns, "path");
  svg.setAttribute("viewBox", `0 0 ${width} ${Math.ceil(bits.length / width) * height}`);
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", label);
  shape.setAttribute("d", path);
  svg.append(shape);
  return svg;
}

// What the server calls a method, in words; one that isn't known here keeps its name.
const methods = { "scan": "by scanning all codes", "multi-index": "by multi-index hashing" };
const how = (answer) => (methods[answer.method] ?? `by ${answer.method}`) +
  (answer.rerank ? `, the nearest ${answer.rerank} re-ranked by real-valued outputs` : "");

const differing = (a, b) => Array.from(a, (bit, j) => (bit === b[j] ? "0" : "1")).join("");
const markSmall = (image) => image.classList.toggle("small", image.naturalWidth <= 64);

function say(text, isError) {
  $("status").textContent = text;
  $("status").classList.toggle("error", Boolean(isError));
}

// Lists whose pictures all fail say once why that may be.
function frame(item) {
  const box = make("span", "frame"), list = asked;
  const image = new Image();
  image.loading = "lazy";
  image.alt = "";
  image.onload = () => { seen.add(list); markSmall(image); };
  image.onerror = () => {
    box.replaceChildren("no picture");
    $("no_pictures").hidden = list !== asked || seen.has(list);
  };
  image.src = `/api/items/${item.id}/image`;
  box.append(image);
  return box;
}

// The picture as large as it is, up to the largest that the server makes.
function enlarge(item) {
  $("large_image").src = `/api/items/${item.id}/image?side=4096`;
  $("large_image").alt = item.name || `item ${item.id}`;
  $("large_name").textContent = [item.name || `item ${item.id}`, ...item.labels].join(", ");
  large = item;
  $("delete").hidden = !info.changes || info.changes === "refused";
  sure(false);
  $("large").showModal();
}

function sure(yes) {
  $("delete").classList.toggle("sure", yes);
  $("delete").textContent = yes ? `Really delete item ${large.id}?` : "Delete this item";
}

// The token stays in this tab's memory of the session, and goes to this server alone.
const token = () => $("token").value.trim();
async function change(method, address, body) {
  const headers = token() ? { "Authorization": `Bearer ${token()}` } : {};
  if (body) headers["Content-Type"] = "application/octet-stream";
  const response = await fetch(address, { method, body, headers });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error);
  sessionStorage.setItem("token", token());
  await showFacts();
  return answer;
}
const complain = (error) =>
  say(error instanceof TypeError ? "The server can't be reached." : error.message, true);

async function addPicture() {
  const values = new URLSearchParams();
  if ($("new_name").value.trim()) values.set("name", $("new_name").value.trim());
  if ($("new_label").value.trim()) values.set("label", $("new_label").value.trim());
  try {
    const { id } = await change("POST", `/api/v1/items?${values}`, picture);
    say(`Added as item ${id}.`);
    $("new_name").value = "";
  } catch (error) {
    complain(error);
  }
}

async function deleteItem() {
  if (!$("delete").classList.contains("sure")) return sure(true);
  const { id } = large;
  $("large").close();
  try {
    await change("DELETE", `/api/v1/items/${id}`);
    for (const entry of document.querySelectorAll(`li[data-id="${id}"]`)) entry.remove();
    say(`Deleted item ${id}.`);
  } catch (error) {
    complain(error);
  }
  $("results").focus({ preventScroll: true });
}

function enlarger(item) {
  const button = make("button", "enlarge", "⤢");
  button.type = "button";
  button.title = "Full size";
  button.setAttribute("aria-label", `Full size of ${item.name || "item " + item.id}`);
  button.onclick = () => enlarge(item);
  return button;
}

// An item to begin a search with.
function sample(item) {
  const entry = make("li"), button = make("button", "card");
  entry.dataset.id = item.id;
  button.type = "button";
  button.append(frame(item));
  if (item.labels.length) button.append(make("span", "", item.labels.join(", ")));
  button.append(make("span", "name dim", item.name || `item ${item.id}`));
  button.setAttribute("aria-label", `${item.labels.join(", ")} ${item.name || "item " + item.id}. ` +
    "Search with it.");
  button.onclick = () => searchItem(item.id);
  entry.append(button, enlarger(item));
  return entry;
}

async function browse() {
  const number = ++asked, values = new URLSearchParams({ limit: "24" });
  if ($("only").value) values.append("filter", `label=${$("only").value}`);
  try {
    const response = await fetch(`/api/v1/items/random?${values}`);
    const answer = await response.json();
    if (number !== asked) return;
    if (!response.ok) throw new Error(answer.error);
    $("no_pictures").hidden = true;
    $("query").hidden = true;
    $("list").replaceChildren(...answer.items.map(sample));
    say(answer.count === 0 ? "The index has no item."
        : `${answer.items.length} of ${answer.count.toLocaleString("en")} items, by chance: choose one to ` +
          (info.takes_pictures ? "search with it, or a picture of your own." : "search with it."));
  } catch (error) {
    if (number === asked) {
      say(error instanceof TypeError ? "The server can't be reached." : error.message, true);
    }
  }
}

function card(item, rank, queryBits) {
  const entry = make("li"), button = make("button", "card");
  entry.dataset.id = item.id;
  button.type = "button";
  if ("same_class" in item) button.classList.add(item.same_class ? "good" : "bad");
  const top = make("span", "top");
  const bits = differing(queryBits, item.bits);
  const differ = bits.replaceAll("0", "").length;  // re-ranked distances are none of bits
  top.append(make("span", "", `${rank}.`),
             make("span", "", `distance ${Number.isInteger(item.distance) ? item.distance : item.distance.toPrecision(2)}`));
  button.append(frame(item), top, strip(bits, `${differ} bits differ`));
  if ("same_class" in item) {
    button.append(make("span", "verdict", item.same_class ? "✓ same class" : "✗ other class"));
  }
  if (item.labels.length) button.append(make("span", "", item.labels.join(", ")));
  const name = make("span", "name dim", item.name || `item ${item.id}`);
  name.title = item.metadata ? `${item.name} ${JSON.stringify(item.metadata)}` : item.name;
  button.append(name);
  button.setAttribute("aria-label", `Result ${rank}: ${item.labels.join(", ")} ` +
    `${item.name || "item " + item.id}, distance ${item.distance}` +
    ("same_class" in item ? (item.same_class ? ", same class" : ", other class") : "") +
    ". Search with it.");
  button.onclick = () => searchItem(item.id);
  entry.append(button, enlarger(item));
  return entry;
}

function showQuery(query, answer) {
  $("query").hidden = false;
  $("query_name").textContent = picture ? picture.name || "pasted picture"
                                        : query.name || `item ${query.id}`;
  $("query_labels").textContent = query.labels ? query.labels.join(", ") : $("truth").value;
  $("query_strip").replaceChildren(strip(query.bits, `code ${query.code}`));
  $("query_bits").textContent = `${query.bits.length} bits:`;
  $("query_code").textContent = query.code;
  $("precision").hidden = answer.precision === null;
  if (answer.precision !== null) {
    $("precision_value").textContent = `${Math.round(100 * answer.precision)} %`;
    $("precision_text").textContent = `precision@${answer.results.length}`;
  }
}

function showPicture(source, alt) {
  const image = $("shown");
  image.onload = () => markSmall(image);
  image.onerror = () => { image.hidden = true; $("drop").classList.remove("full"); };
  image.src = source;
  image.alt = alt;
  image.hidden = false;
  $("drop").classList.add("full");
}

function parameters() {
  const values = new URLSearchParams();
  values.set("k", $("k").value || "20");
  if ($("mode").value === "radius") {
    values.set("radius", $("radius").value || "0");
    values.set("k", String(info.max_k));
  } else if ($("rerank").value && info.keeps_outputs) {
    values.set("rerank", $("rerank").value);
  }
  if ($("only").value) values.append("filter", `label=${$("only").value}`);
  for (const line of $("filters").value.split("\n")) {
    if (line.trim()) values.append("filter", line.trim());
  }
  if (picture && $("truth").value) values.set("label", $("truth").value);
  return values;
}

async function search() {
  const number = ++asked, values = parameters();
  const id = $("id").value.trim();
  if (!picture && id === "") return say("Choose a picture, or type an item's number.");
  if (!picture) values.set("id", id);
  document.body.classList.add("busy");
  say("Searching…");
  try {
    const response = await fetch(`/api/search?${values}`, picture ? {
      method: "POST", body: picture, headers: { "Content-Type": "application/octet-stream" },
    } : {});
    const answer = await response.json();
    if (number !== asked) return;
    if (!response.ok) throw new Error(answer.error);
    $("no_pictures").hidden = true;
    if (!picture) showPicture(`/api/items/${answer.query.id}/image`, answer.query.name);
    showQuery(answer.query, answer);
    $("list").replaceChildren(
      ...answer.results.map((item, i) => card(item, i + 1, answer.query.bits)));
    const all = answer.within_radius ?? answer.results.length, shown = answer.results.length;
    const time = [`search ${(1000 * answer.search_seconds).toPrecision(2)} ms`];
    if (answer.encode_seconds) time.unshift(`code ${(1000 * answer.encode_seconds).toFixed(0)} ms`);
    say((all === 0 ? "Nothing was found" : shown < all ? `${shown} of ${all} results`
         : `${all} result${all === 1 ? "" : "s"}`) + ` ${how(answer)} (${time.join(", ")}). ` +
        (all === 0 ? "" : "A result's strip shows the bits in which its code differs."));
    history.replaceState(null, "", picture ? "#" : `#${values}`);
  } catch (error) {
    if (number !== asked) return;
    // Nothing of an older search stays beside the error of this one.
    $("list").replaceChildren();
    $("query").hidden = true;
    if (!picture) {
      $("shown").hidden = true;
      $("drop").classList.remove("full");
    }
    history.replaceState(null, "", picture ? "#" : `#${values}`);
    say(error instanceof TypeError ? "The server can't be reached." : error.message, true);
  } finally {
    if (number === asked) document.body.classList.remove("busy");
  }
}

function searchPicture(file) {
  if (!info.takes_pictures) {
    return say("This server was started without a model; type an item's number.", true);
  }
  if (picture) URL.revokeObjectURL($("shown").src);
  picture = file;
  $("id").value = "";
  $("truth_label").hidden = info.classes.length === 0;
  $("add").disabled = false;
  $("new_name").value = file.name;
  showPicture(URL.createObjectURL(file), "The picture that is searched");
  search();
}

function takeItem(id) {
  if (picture) URL.revokeObjectURL($("shown").src);
  picture = null;
  $("add").disabled = true;
  $("file").value = "";
  $("id").value = id;
  $("truth_label").hidden = true;
  search();
}

function searchItem(id) {
  takeItem(id);
  $("results").focus({ preventScroll: true });
  if (window.innerWidth < 820) $("form").scrollIntoView();
}

function fillClasses(select) {
  for (const name of info.classes) {
    const option = make("option", "", name);
    option.value = name;
    select.append(option);
  }
}

function showMode() {
  $("radius_label").hidden = $("mode").value !== "radius";
  $("k_label").hidden = $("mode").value === "radius";
  $("rerank_label").hidden = $("mode").value === "radius" || !info.keeps_outputs;
}

$("form").onsubmit = (event) => {
  event.preventDefault();
  if ($("id").value.trim() !== "") searchItem($("id").value.trim());
  else search();
};
for (const name of ["mode", "k", "radius", "rerank", "only", "truth"]) {
  $(name).onchange = () => {
    showMode();
    if (picture || $("id").value.trim()) search();
    else if (name === "only") browse();
  };
}
$("browse").onclick = () => {
  if (picture) URL.revokeObjectURL($("shown").src);
  picture = null;
  $("add").disabled = true;
  $("file").value = $("id").value = "";
  $("shown").hidden = $("truth_label").hidden = true;
  $("drop").classList.remove("full");
  history.replaceState(null, "", "#");
  browse();
};
$("large_image").onload = () => markSmall($("large_image"));
$("large_image").onclick = () => $("large").close();
$("add").onclick = addPicture;
$("delete").onclick = deleteItem;
$("file").onchange = () => { if ($("file").files.length) searchPicture($("file").files[0]); };
document.addEventListener("paste", (event) => {
  if (event.clipboardData.files.length) searchPicture(event.clipboardData.files[0]);
});
for (const name of ["dragenter", "dragover"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    $("drop").classList.add("over");
  });
}
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) $("drop").classList.remove("over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  $("drop").classList.remove("over");
  if (event.dataTransfer.files.length) searchPicture(event.dataTransfer.files[0]);
});

/** The search that the address names, also when it changes in an open page. */
function followLink() {
  const linked = new URLSearchParams(location.hash.slice(1));
  if (linked.has("radius")) {
    $("mode").value = "radius";
    $("radius").value = linked.get("radius");
  } else if (linked.has("k")) {
    $("mode").value = "k";
    $("k").value = linked.get("k");
    if (linked.has("rerank")) $("rerank").value = linked.get("rerank");
  }
  $("filters").value = linked.getAll("filter").join("\n");
  showMode();
  if (linked.has("id")) takeItem(linked.get("id"));
  else if (!picture) browse();
}

async function showFacts() {
  info = await (await fetch("/api/v1/info")).json();
  $("facts").textContent = `${info.items.toLocaleString("en")} items, codes of ${info.bits} bits` +
    (info.classes.length ? `, ${info.classes.length} classes` : "") +
    (info.takes_pictures ? "" : "; without a model, so by item number only");
}

async function start() {
  try {
    await showFacts();
  } catch {
    return say("The server can't be reached.", true);
  }
  $("radius").max = info.bits;
  $("k").max = info.max_k;
  $("radius").value = Math.round(info.bits / 8);
  fillClasses($("only"));
  fillClasses($("truth"));
  $("only_label").hidden = info.classes.length === 0;
  $("drop").hidden = !info.takes_pictures;
  $("changes").hidden = info.changes === "refused";
  $("token_label").hidden = info.changes !== "token";
  $("token").value = sessionStorage.getItem("token") ?? "";
  followLink();
  window.addEventListener("hashchange", followLink);
}
start();
