// @ts-check
/** Sign-off: draft, reviewed, signed, reopened; and what a person is asked before. */
import { call, one, onSend } from "./api.js";

/** @typedef {{title: string, words: string, button: string, field?: string}} Question */
let answer = async (/** @type {string} */ _text) => {};
const dialog = /** @type {HTMLDialogElement} */ (one("#confirm"));

/** Ask before something is done. @param {Question} question @param {(text: string) => Promise<void>} deed */
export function ask(question, deed) {
  one("#confirm-title").textContent = question.title;
  one("#confirm-words").textContent = question.words;
  one("#confirm-do").textContent = question.button;
  one("#confirm-field").hidden = !question.field;
  one("#confirm-label").textContent = question.field ?? "";
  const text = /** @type {HTMLInputElement} */ (one("[name=text]", dialog));
  [text.value, text.required] = ["", Boolean(question.field)];
  one(".wrong", dialog).hidden = true;
  answer = deed;
  dialog.showModal();
}

onSend(/** @type {HTMLFormElement} */ (one("#confirm-form")), async ({ text }) => {
  await answer(text ?? "");
  dialog.close();
});
for (const button of document.querySelectorAll("[data-close]"))
  button.addEventListener("click", () => button.closest("dialog")?.close());

/** Knows how far a case has come. */
export class SignOff {
  /** @param {string} id @param {() => Promise<void>} changed */
  constructor(id, changed) {
    this.id = id;
    this.changed = changed;
    this.may = Boolean(one("#case").dataset.may);
    /** @type {any} */
    this.case = null;
    one("#step").addEventListener("click", () => this.step());
  }

  /** Whether cells can be decided on. */
  get open() {
    return Boolean(this.case) && this.case.state !== "signed" && !this.case.archived_at && (this.may || this.case.blind);
  }

  /** Why they cannot. */
  get why() {
    if (this.case?.archived_at) return "The case is archived; take it out first.";
    if (this.case?.state === "signed") return "The case is signed; reopen it to change it.";
    return "Your account is for looking; a reviewer decides, or read the case blind.";
  }

  async refresh() {
    this.case = await call("GET", `/cases/${this.id}`);
    this.show();
  }

  show() {
    const { state, blind, archived_at: archived, signed_by: signer, signed_at: at, seal } = this.case;
    const chip = one("#state");
    chip.textContent = archived ? `${state}, archived` : state;
    chip.className = `state ${state}`;
    const step = one("#step");
    step.hidden = !this.may || blind || Boolean(archived) || this.case.progress.total === 0;
    step.textContent = { draft: "Review is done", reviewed: "Sign …", signed: "Reopen …" }[/** @type {"draft"} */ (state)];
    step.classList.toggle("main", state !== "signed");
    one("#frozen").hidden = state !== "signed";
    one("#frozen").textContent = `Signed by ${signer}, ${(at ?? "").slice(0, 16).replace("T", " ")} UTC. Nothing of it changes unless it is reopened. Seal ${seal.slice(0, 16)}.`;
    one("#blind").hidden = !blind;
    /** @type {HTMLButtonElement} */ (one("#undo")).disabled = !this.open;
  }

  /** @param {string} path @param {unknown} body */
  async send(path, body) {
    await call("POST", `/cases/${this.id}/${path}`, body);
    await this.changed();
  }

  step() {
    const { state, version, progress, title } = this.case;
    const left = progress.read - progress.decided;
    if (state === "draft")
      ask({ title: "Review is done", button: "Yes, it is done",
        words: `${progress.decided} of ${progress.read} cells were decided by a person; ${left} count as the model reads them${progress.rejected ? `, ${progress.rejected} are left out` : ""}.` },
        () => this.send("review", { version }));
    else if (state === "reviewed")
      ask({ title: `Sign ${title}`, button: "Sign",
        words: `You sign as ${one("#case").dataset.me}. The case is frozen then; reopening it is recorded.` },
        () => this.send("sign", { version }));
    else
      ask({ title: `Reopen ${title}`, button: "Reopen", field: "Reason", words: "The signature ends; both are kept in the audit log." },
        (reason) => this.send("reopen", { reason }));
  }
}
