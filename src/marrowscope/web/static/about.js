// @ts-check
/** What belongs to a case besides its cells: facts, who sees it, two readers, history, its end. */
import { call, make, one, onSend, say, trying } from "./api.js";
import { howFar, kindOf, sendFiles } from "./files.js";
import { ask } from "./signoff.js";

/** @param {string} id @param {import("./signoff.js").SignOff} signOff @param {() => Promise<void>} changed */
export function about(id, signOff, changed) {
  const dialog = /** @type {HTMLDialogElement} */ (one("#about"));
  one("#about-open").addEventListener("click", () => {
    dialog.showModal();
    trying(() => fill(id, signOff));
  });
  readers(id, signOff, changed);
  if (document.querySelector("#edit")) changes(id, signOff, changed);
}

/** @param {string} id @param {import("./signoff.js").SignOff} signOff */
async function fill(id, signOff) {
  const members = await call("GET", `/cases/${id}/members`);
  const place = document.querySelector("#members");
  if (place) place.textContent = members.join(", ") || "nobody else";
  const names = document.querySelector("#names");
  if (names) names.replaceChildren(...(await call("GET", "/users/names")).map((/** @type {string} */ value) => make("option", { value })));
  await fillReadings(id, signOff);
  if (signOff.case.blind) return one("#history").replaceChildren(make("li", {}, "Hidden while you read blind."));
  const log = await call("GET", `/cases/${id}/audit?limit=500`);
  const lines = log.rows.map((/** @type {any} */ line) => make("li", { value: line.seq }, inWords(line)));
  if (log.total > log.rows.length) lines.push(make("li", {}, `and ${log.total - log.rows.length} more lines`));
  one("#history").replaceChildren(...lines);
}

/** @param {any} line */
function inWords(line) {
  const cell = line.cell ? `, cell ${line.cell}` : "";
  const change = line.before?.label && line.after?.label ? `: ${line.before.label} → ${line.after.label}` : "";
  return `${line.at.slice(0, 16).replace("T", " ")} ${line.who}: ${line.action}${cell}${change}`;
}

/** @param {string} id @param {import("./signoff.js").SignOff} signOff */
async function fillReadings(id, signOff) {
  const readings = await call("GET", `/cases/${id}/readings`);
  const words = readings.map((/** @type {any} */ each) => make("li", {}, `${each.who}: ${each.closed_at ? "done" : "reads now"}`));
  one("#readings").replaceChildren(...(words.length ? words : [make("li", {}, "nobody yet")]));
  const done = readings.filter((/** @type {any} */ each) => each.closed_at).map((/** @type {any} */ each) => each.who);
  one("#agree").hidden = done.length < 2 || signOff.case.blind;
  one("#agree").dataset.first = done[0] ?? "";
  one("#agree").dataset.other = done[1] ?? "";
  /** @type {HTMLButtonElement} */ (one("#blind-open")).disabled = signOff.case.blind || signOff.case.state === "signed";
}

/** @param {string} id @param {import("./signoff.js").SignOff} signOff @param {() => Promise<void>} changed */
function readers(id, signOff, changed) {
  one("#blind-open").addEventListener("click", () => trying(async () => {
    await signOff.send("readings/open", {});
    location.reload();
  }));
  one("#blind-close").addEventListener("click", () =>
    ask({ title: "End this reading", button: "End it", words: "You see the others’ decisions from then on; this reading cannot be opened again." }, async () => {
      await signOff.send("readings/close", {});
      await changed();
    }));
  one("#agree").addEventListener("click", () => trying(async () => {
    const { first, other } = one("#agree").dataset;
    const found = await call("GET", `/cases/${id}/agreement?${new URLSearchParams({ first: first ?? "", other: other ?? "" })}`);
    one("#agreement").textContent = `${first} and ${other}: ${found.in_words || "no cell was read by both."}`;
  }));
}

/** @param {string} id @param {import("./signoff.js").SignOff} signOff @param {() => Promise<void>} changed */
function changes(id, signOff, changed) {
  onSend(/** @type {HTMLFormElement} */ (one("#edit")), async (values) => {
    await call("PATCH", `/cases/${id}`, values);
    location.reload();
  });
  one("#add [name=files]").addEventListener("change", async (event) => {
    const { kind, words } = await kindOf([...(/** @type {HTMLInputElement} */ (event.target).files ?? [])]);
    one("#add-kind-words").textContent = words;
    /** @type {HTMLSelectElement} */ (one("#add [name=kind]")).value = kind;
  });
  onSend(/** @type {HTMLFormElement} */ (one("#add")), async (values) => {
    const input = /** @type {HTMLInputElement} */ (one("#add [name=files]"));
    const tell = one("#add-words");
    const outcome = await sendFiles(id, [...(input.files ?? [])], values.slide, (share, unpacked) => {
      tell.textContent = howFar(share, unpacked);
    }, values.kind);
    const refused = outcome.refused.map((each) => `${each.file}: ${each.reason}`).join("; ");
    tell.textContent = `${outcome.new} new, ${outcome.known} known already${refused ? `; refused: ${refused}` : ""}`;
    await changed();
  });
  onSend(/** @type {HTMLFormElement} */ (one("#share")), async ({ name }) => {
    await call("PUT", `/cases/${id}/members/${encodeURIComponent(name)}`);
    say(`${name} sees the case now.`);
    await fill(id, signOff);
  });
  one("#archive").addEventListener("click", () => trying(async () => {
    await call("POST", `/cases/${id}/${signOff.case.archived_at ? "restore" : "archive"}`);
    location.reload();
  }));
  one("#delete").addEventListener("click", () =>
    ask({ title: "Delete this case", button: "Delete for good", field: `Type its title: ${signOff.case.title}`,
      words: "Its pictures and decisions are gone then; its lines in the audit log stay." }, async (title) => {
      await call("DELETE", `/cases/${id}`, { title });
      location.assign("/cases");
    }));
}
