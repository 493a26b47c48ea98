// @ts-check
/** The differential beside the gallery: its rows move as cells are decided on. */
import { call, make, one, trying } from "./api.js";

/** @typedef {import("./cells.js").Kind} Kind */
/** @typedef {{code: string, cells: number, percent: number, low: number, high: number}} Row */
const fixed = (/** @type {number | null} */ value) => (value === null ? "–" : value.toFixed(1));

/** Shows a count; `goes` hears which class is wanted. */
export class Differential {
  /**
   * @param {string} id @param {Kind[]} kinds @param {() => number} decided how many cells were
   * @param {(code: string) => void} goes
   */
  constructor(id, kinds, decided, goes) {
    this.id = id;
    this.decided = decided;
    this.asked = 0;
    /** @type {number[]} */
    this.first = [];
    /** @type {Map<string, HTMLElement>} */
    this.rows = new Map();
    for (const kind of kinds) {
      const name = make("button", { type: "button", title: `Go to ${kind.name}` }, kind.name);
      name.addEventListener("click", () => goes(kind.code));
      const share = make("span", { class: "share" }, make("span"), make("span", { class: "track" }, make("b"), make("i")));
      const row = make("tr", { "data-code": kind.code, hidden: !kind.covered },
        make("td", {}, make("kbd", {}, kind.key)), make("td", { class: "name" }, name),
        make("td", { class: "number cells" }, "0"), make("td", {}, share));
      this.rows.set(kind.code, row);
    }
    one("#rows").append(...this.rows.values());
  }

  /** Count anew; of several wishes at once the last one counts. */
  async refresh() {
    this.asked += 1;
    const mine = this.asked;
    await new Promise((resolve) => setTimeout(resolve, 60));
    if (mine !== this.asked) return;
    const found = await trying(() => call("GET", `/cases/${this.id}/differential`));
    if (found && mine === this.asked) this.show(found);
  }

  /** @param {any} found */
  show(found) {
    const rows = new Map(found.rows.map((/** @type {Row} */ row) => [row.code, row]));
    for (const row of found.excluded) rows.set(row.code, { ...row, percent: null });
    for (const [code, element] of this.rows) this.showRow(element, /** @type {any} */ (rows.get(code)));
    const set = found.fates["unlike known cells"] ?? 0;
    const aside = set ? `, ${set} set aside` : "";
    one("#counted").textContent = `${found.counted.toLocaleString("en")} counted, ${this.decided()} decided${aside}`;
    const blasts = found.rows.find((/** @type {Row} */ row) => row.code === "BLA");
    one("#blasts").textContent = blasts && found.counted ? `${fixed(blasts.percent)}%` : "–";
    one("#blasts-limits").textContent = blasts && found.counted ? `${fixed(blasts.low)} to ${fixed(blasts.high)}` : "";
    one("#ratio").textContent = found.ratio.value === null ? "–" : fixed(found.ratio.value);
    one("#ratio-limits").textContent = found.ratio.value === null ? "not computable"
      : `${fixed(found.ratio.low)} to ${fixed(found.ratio.high)}`;
    this.showWork(found);
    const words = [...found.in_words.findings, found.in_words.ratio, found.blasts_in_words, ...found.reviews.map((/** @type {any} */ each) => each.in_words), ...found.notes, found.reference_note];
    one("#notes").replaceChildren(...words.filter(Boolean).map((each) => make("li", {}, each)));
  }

  /** @param {any} found */
  showWork(found) {
    this.first = found.review_first;
    const none = found.blasts === null || !found.counted;
    one("#until").textContent = none ? "–" : found.until_certain === null ? "all" : String(found.until_certain);
    one("#until-more").textContent = !none && found.until_certain === null ? "and more cells" : "";
    one("#first-open").hidden = !this.first.length;
  }

  /** @param {HTMLElement} element @param {any} row */
  showRow(element, row) {
    if (!row) {
      element.hidden = true;
      return;
    }
    element.hidden = false;
    element.classList.toggle("none", !row.cells);
    one(".cells", element).textContent = row.cells.toLocaleString("en");
    const words = one(".share span", element);
    one(".track", element).hidden = row.percent === null;
    if (row.percent === null) return words.replaceChildren(make("small", {}, "not counted"));
    words.replaceChildren(`${fixed(row.percent)} `, make("small", {}, `(${fixed(row.low)}–${fixed(row.high)})`));
    one(".track i", element).style.width = `${row.percent}%`;
    const limits = one(".track b", element).style;
    limits.left = `${row.low}%`;
    limits.width = `${row.high - row.low}%`;
  }
}
