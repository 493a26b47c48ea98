// @ts-check
/** The cells of a case as this page knows them, and what is done to them. */
import { call, say } from "./api.js";

/**
 * @typedef {{code: string, name: string, lineage: string, key: string, counted: boolean, covered: boolean}} Kind
 * @typedef {{id: number, file: string, slide: string, state: string, label: string, decided: boolean,
 *   decided_by: string, machine: string, probability: number, margin: number, novel: boolean,
 *   guesses: {code: string, probability: number}[], reason: string}} Cell
 * @typedef {{cell: number, label: string, machine: string, decided: boolean}} Outcome
 */

export const ASIDE = "aside";
const AT_ONCE = 2000;

/** Where a cell stands in the gallery: with its class, or apart as it is not counted. @param {Cell} cell */
export const groupOf = (cell) => (cell.novel && !cell.decided ? ASIDE : cell.label);

/**
 * Which of two cells to look at first: the undecided, of them the strange, then the least certain.
 * @param {Cell} a @param {Cell} b
 */
export function byDoubt(a, b) {
  return (
    Number(a.decided) - Number(b.decided) ||
    Number(b.novel) - Number(a.novel) ||
    a.margin - b.margin ||
    a.id - b.id
  );
}

/** The cells of one case; who listens hears which of them have changed. */
export class Cells {
  /** @param {string} id @param {string} me */
  constructor(id, me) {
    this.id = id;
    this.me = me;
    /** @type {Map<number, Cell>} */
    this.all = new Map();
    /** @type {((changed: Cell[]) => void)[]} */
    this.listeners = [];
    this.queue = Promise.resolve();
    this.pending = 0;
  }

  /** Fetch all of them; gives those that are new or different. */
  async load() {
    /** @type {Cell[]} */
    const changed = [];
    for (let offset = 0, total = 1; offset < total; offset += AT_ONCE) {
      const page = await call("GET", `/cases/${this.id}/cells?limit=${AT_ONCE}&offset=${offset}`);
      total = page.total;
      for (const cell of page.rows) {
        const old = this.all.get(cell.id);
        if (!old || old.state !== cell.state || old.label !== cell.label || old.decided !== cell.decided)
          changed.push(cell);
        this.all.set(cell.id, cell);
      }
    }
    this.tell(changed);
  }

  /** @param {Cell[]} changed */
  tell(changed) {
    if (changed.length) for (const listener of this.listeners) listener(changed);
  }

  /**
   * Give cells a class: here at once, at the server one request after the other.
   * @param {number[]} ids @param {string} label
   */
  decide(ids, label) {
    const cells = ids.map((id) => this.get(id)).filter((cell) => cell.state === "read");
    if (!cells.length) return;
    for (const cell of cells) Object.assign(cell, { label, decided: true, decided_by: this.me });
    this.tell(cells);
    const request = crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`;
    const body = { cells: cells.map((cell) => cell.id), label, request };
    this.send(() => call("POST", `/cases/${this.id}/decisions`, body));
    const what = cells.length === 1 ? "1 cell is" : `${cells.length} cells are`;
    say(`${what} ${label} now. u takes it back.`);
  }

  /** Take the last decision back. @param {(ids: number[]) => void} then */
  undo(then) {
    this.send(async () => {
      const answer = await call("POST", `/cases/${this.id}/undo`, {});
      const ids = answer.cells.map((/** @type {Outcome} */ each) => each.cell);
      say(ids.length === 1 ? "Taken back." : `Taken back for ${ids.length} cells.`);
      then(ids);
      return answer;
    });
  }

  /** @param {() => Promise<{cells: Outcome[]}>} request */
  send(request) {
    this.pending += 1;
    this.queue = this.queue.then(async () => {
      try {
        const answer = await request();
        this.pending -= 1;
        if (!this.pending) this.settle(answer.cells);
        else this.settle([]);
      } catch (error) {
        this.pending -= 1;
        say(error instanceof Error ? error.message : String(error), true);
        await this.load().catch(() => {});
      }
    });
  }

  /** Take over what the server made of cells, and let the listeners count anew. @param {Outcome[]} outcomes */
  settle(outcomes) {
    const cells = outcomes.map(({ cell, label, decided }) => {
      const known = this.get(cell);
      return Object.assign(known, { label, decided, decided_by: decided ? known.decided_by || this.me : "" });
    });
    for (const listener of this.listeners) listener(cells);
  }

  /** How many a person has decided on. */
  get decided() {
    return [...this.all.values()].filter((cell) => cell.decided).length;
  }

  /** @param {number} id @returns {Cell} */
  get(id) {
    const cell = this.all.get(id);
    if (!cell) throw new Error(`no cell ${id}`);
    return cell;
  }
}
