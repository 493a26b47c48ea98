// @ts-check
/** The page of a case: gallery, large view and differential, worked by keys, hand or mouse. */
import { call, make, one, say, trying } from "./api.js";
import { Cells } from "./cells.js";
import { about } from "./about.js";
import { Differential } from "./differential.js";
import { kindOf, sendFiles } from "./files.js";
import { Gallery } from "./gallery.js";
import { Large } from "./large.js";
import { SignOff } from "./signoff.js";

const frame = one("#case");
const id = frame.dataset.id ?? "";
/** @type {import("./cells.js").Kind[]} */
const kinds = JSON.parse(frame.dataset.classes ?? "[]");
const codes = new Map(kinds.map((kind) => [kind.key, kind.code]));
const cells = new Cells(id, frame.dataset.me ?? "");
const gallery = new Gallery(one("#gallery"), cells, kinds);
const large = new Large(cells, kinds, true);
const differential = new Differential(id, kinds, () => cells.decided, goTo);
const signOff = new SignOff(id, () => start());
let selecting = false;
let anchor = 0;

cells.listeners.push((changed) => {
  gallery.show(changed);
  if (large.open) large.facts();
  if (!cells.pending) {
    differential.refresh();
    signOff.refresh();
  }
  one("#nothing").hidden = cells.all.size > 0;
});
large.decided = (/** @type {string} */ code) => decideLarge(code);

/** Give the selected cells, or the one in focus, a class. @param {string} code @param {number[]} [ids] */
function give(code, ids = gallery.selected.size ? [...gallery.selected] : [gallery.focused]) {
  if (!signOff.open) return say(signOff.why, true);
  const next = gallery.after(ids);
  const focused = document.activeElement?.closest(".tile");
  gallery.clear();
  cells.decide(ids, code);
  if (next && focused) gallery.focus(next);
  else if (next) gallery.rove(next);
}

/** Give the large cell a class, and go on. @param {string} code */
function decideLarge(code) {
  if (!signOff.open) return say(signOff.why, true);
  cells.decide([large.current], code);
  large.go(1);
}

function undo() {
  if (!signOff.open) return say(signOff.why, true);
  cells.undo((ids) => {
    if (!large.open) return gallery.focus(ids[0]);
    if (large.list.includes(ids[0])) large.go(large.list.indexOf(ids[0]) - large.at);
  });
}

/** @param {string} code */
function goTo(code) {
  const tile = gallery.tilesOf(code).querySelector(".tile:not([hidden])");
  if (!tile) return say("No cell of this class is shown.");
  gallery.groups.get(code)?.scrollIntoView({ block: "start" });
  gallery.focus(Number(tile.getAttribute("data-id")));
}

/** @param {number} number */
const open = (number) => large.show(gallery.order(), number);

/** @param {KeyboardEvent} event */
function inGallery(event) {
  const command = event.ctrlKey || event.metaKey;
  if (event.key.startsWith("Arrow")) {
    const next = gallery.toward(event.key);
    if (event.shiftKey) gallery.select([gallery.focused, next], true);
    gallery.focus(next);
  } else if (event.key === " ") gallery.select([gallery.focused], !gallery.selected.has(gallery.focused));
  else if (event.key === "Enter") open(gallery.focused);
  else if (event.key === "Escape") gallery.clear();
  else if (command && event.key === "a") {
    const group = gallery.tiles.get(gallery.focused)?.parentElement;
    gallery.select([...(group?.querySelectorAll(".tile:not([hidden])") ?? [])].map((tile) => gallery.cellOf(tile).id), true);
  } else if (command || event.altKey) return;
  else if (event.key === "u") undo();
  else if (event.key === "g") agree(gallery.selected.size ? [...gallery.selected] : [gallery.focused]);
  else if (codes.has(event.key)) give(codes.get(event.key) ?? "");
  else return;
  event.preventDefault();
}

/** Confirm the classes that stand, one request for each class. @param {number[]} ids */
function agree(ids) {
  const by = Map.groupBy(ids, (number) => cells.get(number).label);
  for (const [label, some] of by) give(label, some);
}

/** @param {KeyboardEvent} event */
function inLarge(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "ArrowLeft") large.go(-1);
  else if (event.key === "ArrowRight") large.go(1);
  else if (event.key === "u") undo();
  else if (event.key === "g") decideLarge(cells.get(large.current).label);
  else if (event.key === "+" || event.key === "=") large.zoom(1.4);
  else if (event.key === "-") large.zoom(1 / 1.4);
  else if ("123".includes(event.key)) large.showHeat(large.heat === Number(event.key) ? 0 : Number(event.key));
  else if (codes.has(event.key)) decideLarge(codes.get(event.key) ?? "");
  else return;
  event.preventDefault();
}

function listenToKeys() {
  gallery.place.addEventListener("keydown", inGallery);
  large.dialog.addEventListener("keydown", inLarge);
  large.dialog.addEventListener("close", () => gallery.focus(large.current));
  document.addEventListener("keydown", (event) => {
    const target = /** @type {Element} */ (event.target);
    if (event.key !== "?" || target.matches("input:not([type=range]):not([type=checkbox]), textarea")) return;
    /** @type {HTMLDialogElement} */ (one("#help")).showModal();
  });
}

function listenToPointer() {
  gallery.place.addEventListener("click", (event) => {
    const tile = /** @type {Element} */ (event.target).closest(".tile");
    if (!tile) return;
    const number = gallery.cellOf(tile).id;
    if (event.shiftKey && anchor) selectTo(number);
    else if (selecting || event.ctrlKey || event.metaKey) gallery.select([number], !gallery.selected.has(number));
    else return open(number);
    anchor = number;
    gallery.focus(number);
  });
}

/** Select all cells between the last one and this. @param {number} number */
function selectTo(number) {
  const order = gallery.order();
  const [from, to] = [order.indexOf(anchor), order.indexOf(number)].sort((a, b) => a - b);
  gallery.select(order.slice(from, to + 1), true);
}

/** Let tiles be dragged onto a class, in the gallery or in the differential. */
function listenToDrags() {
  /** @type {number[]} */
  let dragged = [];
  gallery.place.addEventListener("dragstart", (event) => {
    const tile = /** @type {Element} */ (event.target).closest(".tile");
    if (!tile) return;
    const number = gallery.cellOf(tile).id;
    dragged = gallery.selected.has(number) ? [...gallery.selected] : [number];
    event.dataTransfer?.setData("text/plain", dragged.join(" "));
  });
  const goal = (/** @type {Event} */ event) => /** @type {Element} */ (event.target).closest?.("tr[data-code], .group[data-code]");
  const mark = (/** @type {Element | null | undefined} */ over) => {
    for (const each of document.querySelectorAll(".over")) each.classList.remove("over");
    over?.classList.add("over");
  };
  document.addEventListener("dragover", (event) => {
    const over = dragged.length ? goal(event) : null;
    mark(over);
    if (over && codesHave(over)) event.preventDefault();
  });
  document.addEventListener("drop", (event) => {
    const over = dragged.length ? goal(event) : null;
    mark(null);
    if (over && codesHave(over)) give(over.getAttribute("data-code") ?? "", dragged);
    event.preventDefault();
  });
  document.addEventListener("dragend", () => {
    dragged = [];
    mark(null);
  });
}

/** @param {Element} over */
const codesHave = (over) => kinds.some((kind) => kind.code === over.getAttribute("data-code"));

function listenToTools() {
  const which = /** @type {HTMLSelectElement} */ (one("#which"));
  which.addEventListener("change", () => gallery.filter(which.value));
  one("#select").addEventListener("click", () => {
    selecting = !selecting;
    one("#select").setAttribute("aria-pressed", String(selecting));
  });
  one("#undo").addEventListener("click", undo);
  const size = /** @type {HTMLInputElement} */ (one("#size"));
  size.addEventListener("input", () => gallery.resize(Number(size.value)));
  one("#first-open").addEventListener("click", () => large.show(differential.first, differential.first[0]));
  one("#help-open").addEventListener("click", () => /** @type {HTMLDialogElement} */ (one("#help")).showModal());
  const classes = /** @type {HTMLSelectElement} */ (one("#give"));
  classes.append(...kinds.map((kind) => make("option", { value: kind.code }, `${kind.name} (${kind.code})`)));
  one("#give-now").addEventListener("click", () => give(classes.value));
  one("#clear").addEventListener("click", () => gallery.clear());
  gallery.chosen = () => {
    one("#chosen").hidden = !gallery.selected.size;
    one("#chosen-count").textContent = `${gallery.selected.size} selected`;
  };
  const add = /** @type {HTMLInputElement} */ (one("#add-first"));
  add.addEventListener("change", () => trying(async () => {
    const files = [...(add.files ?? [])];
    const { kind } = await kindOf(files);
    await sendFiles(id, files, "1", () => {}, kind);
    await start();
  }));
}

/** Show how far the reading has come, and the cells as they are read, until it is done. */
async function follow() {
  const { progress, job, fields } = await call("GET", `/cases/${id}`);
  one("#fields-link").hidden = !fields.total;
  const aside = fields.flagged + fields.rejected;
  one("#fields-link").textContent = `Fields${aside ? ` (${aside} not read)` : ""}`;
  if (fields.waiting) return followFields(fields, job);
  const done = progress.total - progress.waiting;
  one("#reading").hidden = !progress.waiting;
  const bar = /** @type {HTMLProgressElement} */ (one("#reading-bar"));
  [bar.max, bar.value] = [progress.total || 1, done];
  one("#reading-words").textContent = job?.state === "failed"
    ? `The reading has stopped: ${job.error}`
    : `Reading, ${done.toLocaleString("en")} of ${progress.total.toLocaleString("en")} cells. You can begin with those that are there.`;
  const unreadable = progress.rejected - fields.removed;
  const rejected = (fields.removed ? `, ${fields.removed} removed` : "") + (unreadable ? `, ${unreadable} cannot be read` : "");
  one("#count").textContent = `${progress.total.toLocaleString("en")} cells${rejected}`;
  return progress;
}

/** Show how far cells were found on fields. @param {any} fields @param {any} job */
function followFields(fields, job) {
  one("#reading").hidden = false;
  const bar = /** @type {HTMLProgressElement} */ (one("#reading-bar"));
  [bar.max, bar.value] = [fields.total, fields.total - fields.waiting];
  one("#reading-words").textContent = job?.state === "failed"
    ? `The search for cells has stopped: ${job.error}`
    : `Finding cells, ${fields.total - fields.waiting} of ${fields.total} fields.`;
  return { total: 0, waiting: 1 };
}

/** Fetch everything, and follow a reading. */
async function start() {
  await signOff.refresh();
  const progress = await follow();
  await cells.load();
  await differential.refresh();
  one("#nothing").hidden = progress.total > 0;
  if (progress.waiting) setTimeout(() => trying(start), progress.total > 500 ? 3000 : 1000);
}

/** @type {HTMLDetailsElement} */ (one("#panel")).open = !matchMedia("(max-width: 60rem)").matches;
listenToKeys();
listenToPointer();
listenToDrags();
listenToTools();
about(id, signOff, start);
await trying(start);
frame.dataset.ready = "yes";
