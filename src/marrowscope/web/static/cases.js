// @ts-check
/** The list of cases: files dropped on it become a case; cases that are being read move on. */
import { call, make, one, onSend, say } from "./api.js";
import { filesOf, howFar, kindOf, sendFiles } from "./files.js";

/** @type {File[]} */
let picked = [];

/** @param {File[]} files */
function pick(files) {
  picked = files.filter((file) => file.size && !file.name.startsWith("."));
  if (!picked.length) return say("There are no files in that.", true);
  const bytes = picked.reduce((sum, file) => sum + file.size, 0);
  const count = picked.length === 1 ? picked[0].name : `${picked.length.toLocaleString("en")} files`;
  one("#picked").textContent = `${count}, ${(bytes / 2 ** 20).toFixed(1)} MB`;
  const title = /** @type {HTMLInputElement} */ (one("[name=title]"));
  title.value ||= titleOf(picked[0]);
  show("#facts");
  title.focus();
  kindOf(picked).then(({ kind, words }) => {
    one("#kind-words").textContent = words;
    choose(kind);
  });
}

/** Say whether the pictures are single cells or whole fields. @param {string} kind */
function choose(kind) {
  /** @type {HTMLInputElement} */ (one(`[name=kind][value=${kind}]`)).checked = true;
  const scale = /** @type {HTMLInputElement} */ (one("[name=um_per_px]"));
  scale.required = kind === "files" && scale.hasAttribute("data-needed");
  one("#scale-of-fields").hidden = kind !== "fields";
}

/** @param {File} file @returns {string} the folder's name, or that of the archive */
const titleOf = (file) =>
  file.webkitRelativePath.split("/")[0] || (/\.zip$/i.test(file.name) ? file.name.slice(0, -4) : "");

/** @param {string} shown */
function show(shown) {
  for (const each of [".drop-words", "#facts", "#sending"]) one(each).hidden = each !== shown;
}

/** @param {Record<string, string> & {kind: string}} values */
async function makeCase({ kind, ...values }) {
  const scale = values.um_per_px ? Number(values.um_per_px) : null;
  const made = await call("POST", "/cases", { ...values, um_per_px: scale, fields: kind === "fields" });
  show("#sending");
  const bar = /** @type {HTMLProgressElement} */ (one("#sent"));
  const words = one("#sending-words");
  try {
    const outcome = await sendFiles(made.id, picked, "1", (share, unpacked) => {
      bar.value = unpacked ? unpacked.done / unpacked.total : share;
      words.textContent = howFar(share, unpacked);
    }, kind);
    if (!outcome.refused.length) return location.assign(`/cases/${made.id}`);
    words.textContent = `${outcome.new} ${kind === "fields" ? "fields" : "cells"} are in the case; ${outcome.refused.length} files are not:`;
    one("#refused").replaceChildren(
      ...outcome.refused.slice(0, 50).map((each) => make("li", {}, `${each.file}: ${each.reason}`)),
    );
  } catch (error) {
    words.textContent = error instanceof Error ? error.message : String(error);
  }
  one("#sending").append(make("p", {}, make("a", { class: "button main", href: `/cases/${made.id}` }, "Open the case")));
}

function takeFiles() {
  const zone = one("#new-case");
  for (const name of ["#pick-files", "#pick-folder"]) {
    const input = /** @type {HTMLInputElement} */ (one(name));
    input.addEventListener("change", () => pick([...(input.files ?? [])]));
  }
  for (const kind of ["dragenter", "dragover"])
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      zone.classList.add("over");
    });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) zone.classList.remove("over");
  });
  document.addEventListener("drop", async (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    if (event.dataTransfer) pick(await filesOf(event.dataTransfer));
  });
  one("#forget").addEventListener("click", () => show(".drop-words"));
  for (const radio of document.querySelectorAll("[name=kind]"))
    radio.addEventListener("change", (event) => choose(/** @type {HTMLInputElement} */ (event.target).value));
  onSend(one("#facts"), (values) => makeCase(/** @type {any} */ (values)));
}

/** Move the bars of cases that are being read, until none is. */
async function follow() {
  const rows = [...document.querySelectorAll(".case-row")].filter(
    (row) => row.getAttribute("data-waiting") !== "0",
  );
  for (const row of rows) {
    const { progress } = await call("GET", `/cases/${row.getAttribute("data-case")}`);
    const done = progress.total - progress.waiting;
    const bar = /** @type {HTMLProgressElement} */ (one("progress", row));
    bar.max = progress.total || 1;
    bar.value = progress.waiting ? done : progress.decided;
    one(".case-progress span", row).textContent = progress.waiting
      ? `reading ${done} of ${progress.total}`
      : `${progress.decided} of ${progress.read} decided`;
    row.setAttribute("data-waiting", progress.waiting);
  }
  if (rows.length) setTimeout(follow, 1500);
}

if (document.querySelector("#new-case")) takeFiles();
await follow();
