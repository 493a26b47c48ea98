// @ts-check
/** The large view of one cell: zoom, heatmaps, probabilities, its neighbours and its history. */
import { Alike } from "./alike.js";
import { call, make, one, trying } from "./api.js";

/** @typedef {import("./cells.js").Kind} Kind */
const BESIDE = 4;
const NEAREST = 12;

/** Shows one cell of a list; `decided` hears which class it is given. */
export class Large {
  /** @param {import("./cells.js").Cells} cells @param {Kind[]} kinds @param {boolean} may */
  constructor(cells, kinds, may) {
    this.cells = cells;
    this.kinds = new Map(kinds.map((kind) => [kind.code, kind]));
    this.alike = new Alike(`/api/v1/cases/${cells.id}`, (code) => this.nameOf(code));
    this.dialog = /** @type {HTMLDialogElement} */ (one("#large"));
    /** @type {number[]} */
    this.list = [];
    this.at = 0;
    this.seen = null;
    this.heat = 0;
    this.scale = 1;
    this.shift = { x: 0, y: 0 };
    this.decided = (/** @type {string} */ _code) => {};
    one("#palette").hidden = !may;
    one("#palette").append(...kinds.map((kind) => this.button(kind)));
    one("#before").addEventListener("click", () => this.go(-1));
    one("#after").addEventListener("click", () => this.go(1));
    one("#closer").addEventListener("click", () => this.zoom(1.4));
    one("#farther").addEventListener("click", () => this.zoom(1 / 1.4));
    one("#large-close").addEventListener("click", () => this.dialog.close());
    this.listen(one("#stage"));
  }

  /** @param {Kind} kind */
  button(kind) {
    const button = make("button", { type: "button", "data-code": kind.code, class: kind.covered ? "" : "unknown" }, make("kbd", {}, kind.key), kind.name);
    button.addEventListener("click", () => this.decided(kind.code));
    return button;
  }

  /** Let the wheel zoom, and a hand move the picture. @param {HTMLElement} stage */
  listen(stage) {
    stage.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(event.deltaY < 0 ? 1.15 : 1 / 1.15);
    }, { passive: false });
    stage.addEventListener("pointerdown", (event) => stage.setPointerCapture(event.pointerId));
    stage.addEventListener("pointermove", (event) => {
      if (!stage.hasPointerCapture(event.pointerId)) return;
      this.shift = { x: this.shift.x + event.movementX, y: this.shift.y + event.movementY };
      this.place();
    });
  }

  get open() {
    return this.dialog.open;
  }

  get current() {
    return this.list[this.at] ?? 0;
  }

  /** @param {number[]} list @param {number} id */
  show(list, id) {
    this.list = list;
    this.at = Math.max(0, list.indexOf(id));
    this.heat = 0;
    if (!this.dialog.open) this.dialog.showModal();
    return this.draw();
  }

  /** @param {number} way */
  go(way) {
    const next = this.at + way;
    if (next < 0 || next >= this.list.length) return;
    this.at = next;
    this.draw();
  }

  async draw() {
    const cell = this.cells.get(this.current);
    const from = `/api/v1/cases/${this.cells.id}/cells/${cell.id}`;
    [this.scale, this.shift, this.seen] = [1, { x: 0, y: 0 }, null];
    this.place();
    this.picture(`${from}/picture`);
    one("#heats").replaceChildren();
    this.alike.say("…");
    this.facts();
    this.strip();
    if (!this.dialog.contains(document.activeElement)) one("#large-title").focus();
    const full = await trying(() => call("GET", `/cases/${this.cells.id}/cells/${cell.id}`));
    if (full && this.current === cell.id) this.tellFull(full);
    this.explain(cell.id);
  }

  /** @param {string} source */
  picture(source) {
    const picture = /** @type {HTMLImageElement} */ (one("#picture"));
    const cell = this.cells.get(this.current);
    picture.src = source;
    picture.alt = `Cell ${cell.id}, ${this.nameOf(cell.label)}`;
    one("#heat").hidden = true;
  }

  /** @param {string} code */
  nameOf(code) {
    return this.kinds.get(code)?.name ?? code;
  }

  /** Say what the cell counts as, now. */
  facts() {
    const cell = this.cells.get(this.current);
    one("#large-title").textContent = `${this.nameOf(cell.label)} (${cell.label})`;
    const by = cell.decided ? `decided by ${cell.decided_by}; the model: ${this.nameOf(cell.machine)}` : "by the model";
    const strange = cell.novel ? ", unlike the known cells" : "";
    one("#large-facts").textContent = `${by} ${(100 * cell.probability).toFixed(0)}%${strange} · slide ${cell.slide} · ${cell.file} · ${this.at + 1} of ${this.list.length}`;
    for (const button of one("#palette").children)
      button.setAttribute("aria-pressed", String(button.getAttribute("data-code") === cell.label));
  }

  strip() {
    const start = Math.max(0, Math.min(this.at - BESIDE, this.list.length - 2 * BESIDE - 1));
    const near = this.list.slice(start, start + 2 * BESIDE + 1);
    one("#strip").replaceChildren(...near.map((id) => {
      const source = `/api/v1/cases/${this.cells.id}/cells/${id}/thumbnail?side=144`;
      const button = make("button", { type: "button", "aria-label": `Cell ${id}, ${this.cells.get(id).label}` }, make("img", { src: source, alt: "" }));
      if (id === this.current) button.setAttribute("aria-current", "true");
      button.addEventListener("click", () => this.go(this.list.indexOf(id) - this.at));
      return button;
    }));
  }

  /** @param {any} full */
  tellFull(full) {
    const rows = full.probabilities.slice(0, 6).flatMap((/** @type {any} */ guess) => {
      const fill = make("i");
      fill.style.width = `${100 * guess.probability}%`;
      return [make("span", {}, this.nameOf(guess.code)), make("span", { class: "track" }, fill), make("span", { class: "number" }, `${(100 * guess.probability).toFixed(1)}%`)];
    });
    one("#chances").replaceChildren(...rows);
    const past = full.history.map((/** @type {any} */ each) => {
      const what = each.undoes ? `took back ${each.before}` : `${each.before || full.machine} → ${each.after}`;
      return make("li", {}, `${each.who}, ${each.at.slice(0, 16).replace("T", " ")}: ${what}${each.undone ? " (taken back)" : ""}`);
    });
    one("#past").replaceChildren(...(past.length ? past : [make("li", {}, "none yet")]));
  }

  /** Ask where the model sees the likeliest classes; some models cannot say. @param {number} id */
  async explain(id) {
    await new Promise((resolve) => setTimeout(resolve, 250));
    if (this.current !== id || !this.open) return;
    try {
      const seen = await call("GET", `/cases/${this.cells.id}/cells/${id}/explanation`);
      if (this.current !== id) return;
      this.seen = seen;
      this.alike.show(seen.similar, seen.credit);
      one("#heats").replaceChildren(...seen.maps.slice(0, 3).map((/** @type {any} */ map, /** @type {number} */ at) => this.heatButton(map, at + 1)));
      if (this.heat) this.showHeat(Math.min(this.heat, seen.maps.length));
    } catch (error) {
      if (this.current === id) this.alike.say(error instanceof Error ? error.message : "");
    }
  }

  /** @param {any} map @param {number} number */
  heatButton(map, number) {
    const button = make("button", { type: "button", class: "small", "aria-pressed": "false", title: `Where the model sees ${this.nameOf(map.code)}` }, make("kbd", {}, String(number)), map.code);
    button.addEventListener("click", () => this.showHeat(this.heat === number ? 0 : number));
    return button;
  }

  /** Lay a heatmap over what the model saw; 0 for none. @param {number} number */
  showHeat(number) {
    const seen = /** @type {any} */ (this.seen);
    const map = seen?.maps[number - 1];
    this.heat = number;
    const from = `/api/v1/cases/${this.cells.id}/cells/${this.current}/picture`;
    this.picture(map ? seen.picture : from);
    const heat = /** @type {HTMLImageElement} */ (one("#heat"));
    heat.hidden = !map;
    if (map) heat.src = map.layer;
    [...one("#heats").children].forEach((button, at) => button.setAttribute("aria-pressed", String(at + 1 === this.heat)));
  }

  /** @param {number} by */
  zoom(by) {
    this.scale = Math.min(NEAREST, Math.max(1, this.scale * by));
    if (this.scale === 1) this.shift = { x: 0, y: 0 };
    this.place();
  }

  place() {
    const { x, y } = this.shift;
    for (const name of ["#picture", "#heat"]) one(name).style.transform = `translate(${x}px, ${y}px) scale(${this.scale})`;
  }
}
