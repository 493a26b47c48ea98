// @ts-check
/** The page of a case's fields: boxes of cells, a missed one drawn, a false one removed. */
import { call, make, one, say, trying } from "./api.js";
import { Cells } from "./cells.js";
import { Draft } from "./draft.js";
import { Large } from "./large.js";

/**
 * @typedef {{cell: number, x0: number, y0: number, x1: number, y1: number, origin: string, removed: boolean,
 *   state: string, label: string, decided: boolean}} Box
 * @typedef {{id: number, file: string, width: number, height: number, um_per_px: number | null, scale: string,
 *   flags: string[], flags_in_words: string, state: string, reason: string, cells: number, removed: number}} Field
 */
const frame = one("#case");
const id = frame.dataset.id ?? "";
const may = Boolean(frame.dataset.may && frame.dataset.open);
/** @type {import("./cells.js").Kind[]} */
const kinds = JSON.parse(frame.dataset.classes ?? "[]");
const nameOf = new Map(kinds.map((kind) => [kind.code, kind.name]));
const codes = new Map(kinds.map((kind) => [kind.key, kind.code]));
const LARGEST = 1.6;
const SCALES = new Map([["given", "as given"], ["file", "by its file"], ["red cells", "estimated from red cells"], ["other fields", "by the red cells of other fields"]]);
const cells = new Cells(id, frame.dataset.me ?? "");
const large = new Large(cells, kinds, Boolean(frame.dataset.may));
const stage = one("#field");
const draft = new Draft(stage, one("#frame"), add);
/** @type {Field[]} */
let fields = [];
/** @type {(Field & {boxes: Box[]}) | null} */
let shown = null;
let current = 0;
let zoom = 1;

cells.listeners.push(() => trying(async () => {
  if (cells.pending) return;
  if (large.open) large.facts();
  await refresh();
}));
large.decided = (/** @type {string} */ code) => {
  if (!may) return say("This case cannot be changed now.", true);
  cells.decide([large.current], code);
  large.go(1);
};

/** @param {number} number */
const inCells = (number) => (number === 1 ? "1 cell" : `${number} cells`);

/** @param {string} path */
const address = (path) => `/cases/${id}/fields${path}`;

/** List the fields, and show one. @param {number} [number] */
async function list(number) {
  fields = await call("GET", address(""));
  one("#list").replaceChildren(...fields.map(entry));
  const first = fields.find((each) => each.id === number) ?? fields[0];
  if (first) await show(first.id);
}

/** @param {Field} field */
function entry(field) {
  const state = field.state === "found" ? `${inCells(field.cells)}${field.removed ? `, ${field.removed} removed` : ""}`
    : { waiting: "waits", flagged: `flagged: ${field.flags.join(", ")}`, rejected: "of no use" }[field.state] ?? "";
  const button = make("button", { type: "button", "data-id": field.id, title: field.file },
    make("img", { src: `/api/v1${address(`/${field.id}/picture?side=320`)}`, alt: "", loading: "lazy" }),
    make("span", {}, make("span", {}, field.file), make("span", { class: "soft" }, state)));
  button.addEventListener("click", () => trying(() => show(field.id)));
  return button;
}

/** Show one field. @param {number} number */
async function show(number) {
  const is = shown?.id === number;
  if (!is) draft.drop();
  shown = await call("GET", address(`/${number}`));
  if (!shown) return;
  if (!is) {
    [current, zoom] = [0, 1];
    history.replaceState(null, "", `#${number}`);
    const picture = /** @type {HTMLImageElement} */ (one("#field-picture"));
    picture.src = `/api/v1${address(`/${number}/picture`)}`;
    picture.alt = `Field ${shown.file}`;
    picture.width = shown.width;
    picture.height = shown.height;
    scale();
  }
  tell(shown);
  drawBoxes(shown);
  drawLegend(shown);
  for (const button of one("#list").children)
    button.setAttribute("aria-current", String(button.getAttribute("data-id") === String(number)));
}

/** @param {Field & {boxes: Box[]}} field */
function tell(field) {
  one("#field-title").textContent = field.file;
  const source = SCALES.get(field.scale) ?? field.scale;
  const size = field.um_per_px ? ` · ${field.um_per_px.toPrecision(3)} µm a pixel, ${source}` : "";
  one("#field-facts").textContent = `${field.width} x ${field.height} pixels${size} · ${inCells(field.cells)}`;
  const flag = one("#field-flag");
  flag.hidden = !field.flags.length && !field.reason && field.state !== "waiting";
  const words = field.state === "waiting" ? "Its cells are being looked for." : field.reason
    || `Flagged: ${field.flags_in_words}.${field.state === "flagged" ? " Its cells are not read." : " Its cells are read all the same."}`;
  one("span", flag).textContent = words;
  one("#force").hidden = !may || field.state !== "flagged";
}

/** @param {Field & {boxes: Box[]}} field */
function drawBoxes(field) {
  const focused = document.activeElement?.matches(".box:not(.draft)");
  for (const box of stage.querySelectorAll(".box:not(.draft)")) box.remove();
  stage.append(...field.boxes.map((box, at) => drawBox(field, box, at)));
  if (!field.boxes.some((box) => box.cell === current)) current = 0;
  choose(current, Boolean(focused));
}

/** @param {Field} field @param {Box} box @param {number} at */
function drawBox(field, box, at) {
  const code = box.removed ? "✕" : box.label || "…";
  const name = box.removed ? "removed, no cell" : nameOf.get(box.label) ?? "not read yet";
  const told = `${name}${box.decided ? ", decided" : ""}${box.origin === "drawn" ? ", drawn by hand" : ""}, box ${at + 1} of ${shown?.boxes.length}`;
  const button = make("button", { type: "button", class: "box", "data-cell": box.cell, "data-code": box.removed ? "" : box.label, "aria-label": `${code}: ${told}` }, make("span", {}, code));
  button.classList.toggle("removed", box.removed);
  button.classList.toggle("decided", box.decided && !box.removed);
  button.classList.toggle("at-top", box.y0 < field.height * 0.05);
  draft.put(button, box, field);
  button.addEventListener("click", () => {
    const again = current === box.cell;
    choose(box.cell, true);
    if (again || matchMedia("(pointer: fine)").matches) openLarge();
  });
  button.addEventListener("focus", () => choose(box.cell, false));
  return button;
}

/** @returns {Box | undefined} */
const chosen = () => shown?.boxes.find((box) => box.cell === current);

/** Mark a box as the one that the buttons are for. @param {number} cell @param {boolean} focus */
function choose(cell, focus) {
  current = cell;
  for (const each of stage.querySelectorAll(".box:not(.draft)")) {
    const is = each.getAttribute("data-cell") === String(cell);
    each.setAttribute("aria-current", String(is));
    if (is && focus) /** @type {HTMLElement} */ (each).focus();
  }
  const box = chosen();
  const remove = /** @type {HTMLButtonElement} */ (one("#remove"));
  remove.disabled = !box || !may;
  one("span", remove).textContent = box?.removed ? "Put it back" : "No cell: remove";
  /** @type {HTMLButtonElement} */ (one("#open")).disabled = box?.state !== "read";
  const known = box && cells.all.get(box.cell);
  const sure = known && box.state === "read" ? ` · the model: ${known.machine} ${(100 * known.probability).toFixed(0)}%` : "";
  one("#chosen-words").textContent = !box ? "Choose a box to see its cell, or to remove it."
    : `${box.removed ? "Removed" : box.label ? `${nameOf.get(box.label)} (${box.label})` : "Not read yet"}${box.decided ? ", decided" : ""}${sure}`;
}

/** @param {Field & {boxes: Box[]}} field */
function drawLegend(field) {
  const stand = field.boxes.filter((box) => !box.removed && box.label);
  const lines = kinds.map((kind) => ({ kind, count: stand.filter((box) => box.label === kind.code).length }))
    .filter(({ count }) => count)
    .map(({ kind, count }) => make("li", {}, make("b", { "data-code": kind.code }, kind.code), `${kind.name} ${count}`));
  if (field.removed) lines.push(make("li", {}, make("b", {}, "✕"), `removed ${field.removed}`));
  one("#legend").replaceChildren(...(lines.length ? lines : [make("li", { class: "soft" }, "No cell yet.")]));
}

/** Count the case anew. */
async function count() {
  const found = await call("GET", `/cases/${id}/differential`);
  const blasts = found.rows.find((/** @type {any} */ row) => row.code === "BLA");
  const share = blasts && found.counted ? `, blasts ${blasts.percent.toFixed(1)}% (${blasts.low.toFixed(1)} to ${blasts.high.toFixed(1)})` : "";
  one("#counted").textContent = `${found.counted.toLocaleString("en")} nucleated cells counted in the case${share}`;
}

/** Fetch the shown field and the counts anew, until no cell of it waits to be read. */
async function refresh() {
  if (!shown) return;
  await show(shown.id);
  const place = fields.findIndex((field) => field.id === shown?.id);
  if (place >= 0 && shown) {
    fields[place] = shown;
    const old = one(`#list [data-id="${shown.id}"]`);
    const fresh = entry(shown);
    fresh.setAttribute("aria-current", "true");
    old.replaceWith(fresh);
  }
  await count();
}

/** Follow what the worker does to the shown field. */
async function follow() {
  await refresh();
  if (shown?.state === "waiting" || shown?.boxes.some((box) => box.state === "waiting")) return setTimeout(() => trying(follow), 700);
  await cells.load();
}

/** @param {{x0: number, y0: number, x1: number, y1: number}} box */
async function add(box) {
  await trying(async () => {
    const cell = await call("POST", address(`/${shown?.id}/cells`), box);
    cells.all.set(cell.id, cell);
    current = cell.id;
    say("Added; the model reads it now.");
    await follow();
  });
}

function remove() {
  const box = chosen();
  if (!box || !may) return;
  trying(async () => {
    await call("POST", `/cases/${id}/cells/${box.cell}/${box.removed ? "restore" : "remove"}`);
    say(box.removed ? "Put back." : "Removed: not counted any more. Del puts it back.");
    await follow();
    choose(box.cell, true);
  });
}

function openLarge() {
  const box = chosen();
  if (box?.state !== "read") return;
  const order = shown?.boxes.filter((each) => each.state === "read").map((each) => each.cell) ?? [];
  trying(async () => {
    if (!cells.all.has(box.cell)) await cells.load();
    await large.show(order, box.cell);
  });
}

/** Go to the box before or after. @param {number} way */
function step(way) {
  const boxes = shown?.boxes.filter((box) => !box.removed || stage.classList.contains("with-removed")) ?? [];
  const at = boxes.findIndex((box) => box.cell === current);
  const next = boxes[Math.max(0, Math.min(boxes.length - 1, at + way))];
  if (next) choose(next.cell, true);
}

/** Go to another field. @param {number} way */
function turn(way) {
  const at = fields.findIndex((field) => field.id === shown?.id);
  const next = fields[at + way];
  if (next) trying(() => show(next.id)).then(() => one("#field-title").focus());
}

/** Let the whole field be seen at once, and larger by the zoom. */
function scale() {
  if (!shown) return;
  const tall = Math.max(320, innerHeight - 250);
  const whole = Math.min(one("#frame").clientWidth, LARGEST * shown.width, (tall * shown.width) / shown.height);
  stage.style.width = `${Math.round(whole * zoom)}px`;
}

/** @param {number} by */
function nearer(by) {
  zoom = Math.max(1, Math.min(12, zoom * by));
  scale();
}

function toggleDraft() {
  if (!may || !shown) return;
  if (draft.on) draft.drop();
  else draft.begin(shown);
  one("#draw").setAttribute("aria-pressed", String(draft.on));
}

/** @param {KeyboardEvent} event */
function onKey(event) {
  const target = /** @type {Element} */ (event.target);
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (target.matches("input, select, textarea") || draft.key(event)) return;
  const box = chosen();
  if (event.key === "q") toggleDraft();
  else if (event.key === "Escape" && draft.on) toggleDraft();
  else if (event.key === "[" || event.key === "]") turn(event.key === "]" ? 1 : -1);
  else if (event.key === "+" || event.key === "=") nearer(1.4);
  else if (event.key === "-") nearer(1 / 1.4);
  else if (event.key === "?") /** @type {HTMLDialogElement} */ (one("#help")).showModal();
  else if (!target.closest(".box")) return;
  else if (event.key === "ArrowRight" || event.key === "ArrowLeft") step(event.key === "ArrowRight" ? 1 : -1);
  else if (event.key === "Delete" || event.key === "Backspace") remove();
  else if (event.key === "Enter") openLarge();
  else if (event.key === "u" && may) cells.undo(() => {});
  else if (box?.state === "read" && may && event.key === "g") cells.decide([box.cell], box.label);
  else if (box?.state === "read" && may && codes.has(event.key)) cells.decide([box.cell], codes.get(event.key) ?? "");
  else return;
  event.preventDefault();
}

/** Keys of the large view: as in the gallery. @param {KeyboardEvent} event */
function inLarge(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "ArrowLeft") large.go(-1);
  else if (event.key === "ArrowRight") large.go(1);
  else if (event.key === "+" || event.key === "=") large.zoom(1.4);
  else if (event.key === "-") large.zoom(1 / 1.4);
  else if ("123".includes(event.key)) large.showHeat(large.heat === Number(event.key) ? 0 : Number(event.key));
  else if (event.key === "u" && may) cells.undo(() => {});
  else if (event.key === "g") large.decided(cells.get(large.current).label);
  else if (codes.has(event.key)) large.decided(codes.get(event.key) ?? "");
  else return;
  event.preventDefault();
}

function listen() {
  document.addEventListener("keydown", onKey);
  large.dialog.addEventListener("keydown", inLarge);
  large.dialog.addEventListener("close", () => choose(large.current, true));
  one("#draw").addEventListener("click", toggleDraft);
  one("#remove").addEventListener("click", remove);
  one("#open").addEventListener("click", openLarge);
  one("#nearer").addEventListener("click", () => nearer(1.4));
  one("#further").addEventListener("click", () => nearer(1 / 1.4));
  one("#help-open").addEventListener("click", () => /** @type {HTMLDialogElement} */ (one("#help")).showModal());
  one("#force").addEventListener("click", () => trying(async () => {
    await call("POST", address(`/${shown?.id}/read`));
    await follow();
  }));
  const removed = /** @type {HTMLInputElement} */ (one("#with-removed"));
  const showRemoved = () => stage.classList.toggle("with-removed", removed.checked);
  removed.addEventListener("change", showRemoved);
  showRemoved();
  addEventListener("resize", scale);
}

listen();
await trying(async () => {
  await cells.load();
  await list(Number(location.hash.slice(1)) || undefined);
  await follow();
});
frame.dataset.ready = "yes";
