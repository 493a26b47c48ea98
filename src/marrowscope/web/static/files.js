// @ts-check
/** Files as they are dropped or chosen, folders with all that is in them, sent in parts. */
import { call, read, secure } from "./api.js";

const PARTS = 200;
const LARGEST_CELL = 400;
const PART_BYTES = 64 * 2 ** 20;
const ASK_MS = 700;

/** @typedef {{new: number, known: number, refused: {file: string, reason: string}[]}} Outcome */
/** @typedef {{done: number, total: number}} Unpacked */

/**
 * Give all files of a drop, those in folders too.
 * @param {DataTransfer} dropped @returns {Promise<File[]>}
 */
export async function filesOf(dropped) {
  const entries = [...dropped.items].map((item) => item.webkitGetAsEntry());
  const loose = [...dropped.files];
  if (entries.every((entry) => !entry)) return loose;
  const found = await Promise.all(entries.map((entry) => (entry ? within(entry) : [])));
  return found.flat();
}

/** @param {FileSystemEntry} entry @returns {Promise<File[]>} */
async function within(entry) {
  if (entry.isFile) {
    const file = /** @type {FileSystemFileEntry} */ (entry);
    return [await new Promise((resolve, reject) => file.file(resolve, reject))];
  }
  const reader = /** @type {FileSystemDirectoryEntry} */ (entry).createReader();
  /** @type {File[]} */
  const files = [];
  for (;;) {
    /** @type {FileSystemEntry[]} */
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) return files;
    for (const each of some) files.push(...(await within(each)));
  }
}

/**
 * Tell by their size whether pictures are single cells or whole fields, with the reason in words.
 * @param {File[]} files @returns {Promise<{kind: "files" | "fields", words: string}>}
 */
export async function kindOf(files) {
  for (const file of files.filter((each) => !/\.zip$/i.test(each.name)).slice(0, 3)) {
    try {
      const { width, height } = await createImageBitmap(file);
      const kind = Math.max(width, height) > LARGEST_CELL ? "fields" : "files";
      const words = kind === "fields" ? "whole fields" : "single cells";
      return { kind, words: `The first is ${width} x ${height} pixels: taken for ${words}, as single cells have up to ${LARGEST_CELL}.` };
    } catch {
      continue;
    }
  }
  return { kind: "files", words: "Their size cannot be told here: taken for single cells." };
}

/**
 * Cut a list of files into parts that the server takes at once.
 * @param {File[]} files @returns {File[][]}
 */
export function inParts(files) {
  /** @type {File[][]} */
  const parts = [];
  let bytes = Infinity;
  for (const file of files) {
    const last = parts.at(-1);
    if (!last || last.length >= PARTS || bytes + file.size > PART_BYTES) {
      parts.push([file]);
      bytes = file.size;
    } else {
      last.push(file);
      bytes += file.size;
    }
  }
  return parts;
}

/**
 * Say how far files are: sent, then unpacked.
 * @param {number} share @param {Unpacked} [unpacked]
 */
export function howFar(share, unpacked) {
  if (unpacked) return `Unpacking ${unpacked.done.toLocaleString("en")} of ${unpacked.total.toLocaleString("en")} files`;
  return share < 1 ? `Sending, ${Math.round(100 * share)}%` : "Looking at the pictures …";
}

/**
 * Send files to a case, as single cells ("files") or whole fields; `tell` hears how much of them
 * came, 0 to 1, and how far they are unpacked.
 * @param {string} id @param {File[]} files @param {string} slide
 * @param {(share: number, unpacked?: Unpacked) => void} tell @param {string} [kind] @returns {Promise<Outcome>}
 */
export async function sendFiles(id, files, slide, tell, kind = "files") {
  const all = files.reduce((sum, file) => sum + file.size, 0) || 1;
  /** @type {Outcome} */
  const outcome = { new: 0, known: 0, refused: [] };
  let sent = 0;
  for (const part of inParts(files)) {
    const answer = await sendPart(`${id}/${kind}`, part, slide, (bytes, unpacked) => tell(Math.min(1, (sent + bytes) / all), unpacked));
    sent += part.reduce((sum, file) => sum + file.size, 0);
    outcome.new += answer.new;
    outcome.known += answer.known;
    outcome.refused.push(...answer.refused);
  }
  return outcome;
}

/**
 * Send one part; a request that tells how far it has come, which `fetch` does not.
 * @param {string} to the case and the kind @param {File[]} part @param {string} slide
 * @param {(bytes: number, unpacked?: Unpacked) => void} tell @returns {Promise<Outcome>}
 */
function sendPart(to, part, slide, tell) {
  const form = new FormData();
  form.set("slide", slide);
  for (const file of part) form.append("files", file, file.name);
  const bytes = part.reduce((sum, file) => sum + file.size, 0);
  const key = crypto.randomUUID?.() ?? String(Math.random());
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", `/api/v1/cases/${to}`);
    for (const [name, value] of Object.entries(secure())) request.setRequestHeader(name, value);
    request.setRequestHeader("Idempotency-Key", key);
    request.upload.onprogress = (event) => tell(event.loaded);
    request.upload.onload = () => follow(request, key, (unpacked) => tell(bytes, unpacked));
    request.onerror = () => reject(new Error("The server cannot be reached; send the files again."));
    request.onload = () => {
      try {
        resolve(read(request.status, request.responseText));
      } catch (error) {
        reject(error);
      }
    };
    request.send(form);
  });
}

/**
 * Ask how far what was sent is unpacked, until it is answered.
 * @param {XMLHttpRequest} request @param {string} key @param {(unpacked: Unpacked) => void} tell
 */
async function follow(request, key, tell) {
  while (request.readyState < XMLHttpRequest.DONE) {
    const unpacked = await call("GET", `/uploads/${key}`).catch(() => null);
    if (unpacked?.total && request.readyState < XMLHttpRequest.DONE) tell(unpacked);
    await new Promise((resolve) => setTimeout(resolve, ASK_MS));
  }
}
