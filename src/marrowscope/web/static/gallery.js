// @ts-check
/** The gallery: tiles by class, one in focus, some selected. */
import { make } from "./api.js";
import { ASIDE, byDoubt, groupOf } from "./cells.js";

/** @typedef {import("./cells.js").Cell} Cell */
/** @typedef {import("./cells.js").Kind} Kind */
const percent = (/** @type {number} */ share) => `${Math.round(100 * share)}%`;

/** Shows cells; it changes none, but says by `chosen` and `opened` what is wished. */
export class Gallery {
  /**
   * @param {HTMLElement} place @param {import("./cells.js").Cells} cells @param {Kind[]} kinds
   */
  constructor(place, cells, kinds) {
    this.place = place;
    this.cells = cells;
    this.kinds = new Map(kinds.map((kind) => [kind.code, kind]));
    /** @type {Map<number, HTMLElement>} */
    this.tiles = new Map();
    /** @type {Map<string, HTMLElement>} */
    this.groups = new Map();
    /** @type {Set<number>} */
    this.selected = new Set();
    this.which = "all";
    this.focused = 0;
    this.size = 7;
    this.width = place.clientWidth || 800;
    addEventListener("resize", () => {
      this.width = place.clientWidth || 800;
      this.count();
    });
    this.chosen = () => {};
    for (const code of [ASIDE, ...this.kinds.keys()]) this.addGroup(code);
  }

  /** @param {string} code */
  addGroup(code) {
    const kind = this.kinds.get(code);
    const words = kind ? kind.name : "Unlike the known cells: not counted until you decide";
    const count = make("span", { class: "soft" });
    const title = make("h3", { id: `group-${code}` }, kind ? `${words} ` : words, count);
    const tiles = make("div", {
      class: "tiles", role: "listbox", "aria-multiselectable": "true", "aria-labelledby": `group-${code}`,
    });
    const group = make("section", { class: "group", "data-code": code, hidden: true }, title, tiles);
    this.groups.set(code, group);
    this.place.append(group);
  }

  /** @param {string} code @returns {HTMLElement} */
  tilesOf(code) {
    const group = this.groups.get(code);
    if (!group) throw new Error(`no group ${code}`);
    return /** @type {HTMLElement} */ (group.lastElementChild);
  }

  /** Show cells anew: each where it belongs now. @param {Cell[]} changed */
  show(changed) {
    const read = changed.filter((cell) => cell.state === "read").sort(byDoubt);
    /** @type {Map<string, Cell[]>} */
    const fresh = new Map();
    for (const cell of read) {
      const code = groupOf(cell);
      if (!fresh.has(code)) fresh.set(code, []);
      fresh.get(code)?.push(cell);
    }
    for (const [code, cells] of fresh) this.put(code, cells);
    this.count();
  }

  /** Merge sorted cells into a group's sorted tiles. @param {string} code @param {Cell[]} cells */
  put(code, cells) {
    const place = this.tilesOf(code);
    for (const cell of cells) this.tiles.get(cell.id)?.remove();
    let next = place.firstElementChild;
    /** @type {Element[]} */
    let run = [];
    for (const cell of cells) {
      while (next && byDoubt(this.cellOf(next), cell) < 0) {
        if (run.length) next.before(...run.splice(0));
        next = next.nextElementSibling;
      }
      run.push(this.tile(cell));
    }
    if (next) next.before(...run);
    else place.append(...run);
  }

  /** @param {Element} tile @returns {Cell} */
  cellOf(tile) {
    return this.cells.get(Number(tile.getAttribute("data-id")));
  }

  /** Give the tile of a cell, as the cell is now. @param {Cell} cell */
  tile(cell) {
    let tile = this.tiles.get(cell.id);
    if (!tile) {
      const source = `/api/v1/cases/${this.cells.id}/cells/${cell.id}/thumbnail?side=144`;
      tile = make(
        "div",
        { class: "tile", role: "option", tabindex: -1, draggable: "true", "data-id": cell.id, "aria-selected": "false" },
        make("img", { src: source, alt: "", loading: "lazy", decoding: "async", width: 144, height: 144, draggable: "false" }),
        make("span", {}),
      );
      this.tiles.set(cell.id, tile);
      if (!this.focused) this.rove(cell.id);
    }
    const [first, second] = cell.guesses;
    const words = cell.decided
      ? `✓ ${cell.decided_by}`
      : [first && `${first.code === cell.label ? "" : `${first.code} `}${percent(first.probability)}`,
          second && second.probability >= 0.05 && `${second.code} ${percent(second.probability)}`]
          .filter(Boolean).join(" · ");
    tile.classList.toggle("decided", cell.decided);
    tile.classList.toggle("novel", cell.novel && !cell.decided);
    /** @type {HTMLElement} */ (tile.lastElementChild).textContent = words;
    tile.setAttribute("aria-label", `${cell.label}, ${words}, cell ${cell.id}${cell.novel ? ", unlike the known cells" : ""}`);
    tile.hidden = !this.fits(cell);
    return tile;
  }

  /** @param {Cell} cell */
  fits(cell) {
    if (this.which === "open") return !cell.decided;
    if (this.which === "decided") return cell.decided;
    return this.which === "novel" ? cell.novel : true;
  }

  /** Show only some cells. @param {string} which */
  filter(which) {
    this.which = which;
    for (const [id, tile] of this.tiles) tile.hidden = !this.fits(this.cells.get(id));
    this.count();
  }

  count() {
    for (const group of this.groups.values()) {
      const tiles = /** @type {HTMLElement} */ (group.lastElementChild);
      const all = tiles.childElementCount;
      const shown = this.which === "all" ? all : tiles.querySelectorAll(":scope > :not([hidden])").length;
      group.hidden = !shown;
      group.style.containIntrinsicBlockSize = `auto ${Math.round(this.heightOf(shown))}px`;
      const count = /** @type {HTMLElement} */ (group.querySelector("h3 span"));
      count.textContent = ` ${shown.toLocaleString("en")}${shown < all ? ` of ${all.toLocaleString("en")}` : ""}`;
    }
  }

  /** Guess the height of a group that the browser has not laid out yet. @param {number} tiles */
  heightOf(tiles) {
    const [gap, under, title] = [8, 32, 58];
    const width = this.width;
    const columns = Math.max(1, Math.floor((width + gap) / (16 * this.size + gap)));
    return title + Math.ceil(tiles / columns) * ((width - gap * (columns - 1)) / columns + under + gap);
  }

  /** Let the tiles be so wide, at least. @param {number} size in rem */
  resize(size) {
    this.size = size;
    this.place.style.setProperty("--tile", `${size}rem`);
    this.count();
  }

  /** Give the numbers of the shown cells in the order of the page. @returns {number[]} */
  order() {
    return [...this.place.querySelectorAll(".group:not([hidden]) .tile:not([hidden])")].map((tile) =>
      Number(tile.getAttribute("data-id")),
    );
  }

  /** Let the Tab key lead to this tile. @param {number} id */
  rove(id) {
    this.tiles.get(this.focused)?.setAttribute("tabindex", "-1");
    this.focused = id;
    this.tiles.get(id)?.setAttribute("tabindex", "0");
  }

  /** @param {number} id */
  focus(id) {
    this.rove(id);
    const tile = this.tiles.get(id);
    tile?.focus({ preventScroll: true });
    tile?.scrollIntoView({ block: "nearest" });
  }

  /** Give the cell that comes after some, where the eye goes once they have left. @param {number[]} ids */
  after(ids) {
    const gone = new Set(ids);
    const order = this.order();
    const last = Math.max(...ids.map((id) => order.indexOf(id)));
    return order.slice(last + 1).find((id) => !gone.has(id)) ?? order.slice(0, last).reverse().find((id) => !gone.has(id)) ?? 0;
  }

  /** Give the cell that an arrow leads to. @param {string} key */
  toward(key) {
    const order = this.order();
    const at = order.indexOf(this.focused);
    if (key === "ArrowRight" || key === "ArrowLeft") return order[at + (key === "ArrowRight" ? 1 : -1)] ?? this.focused;
    return this.vertical(order, at, key === "ArrowDown" ? 1 : -1);
  }

  /** Find the tile in the next row that stands nearest. @param {number[]} order @param {number} at @param {number} way */
  vertical(order, at, way) {
    const here = this.tiles.get(order[at])?.getBoundingClientRect();
    if (!here) return this.focused;
    let [best, distance, row] = [this.focused, Infinity, NaN];
    for (let next = at + way; next >= 0 && next < order.length; next += way) {
      const there = this.tiles.get(order[next])?.getBoundingClientRect();
      if (!there || Math.abs(there.top - here.top) < 4) continue;
      if (Number.isNaN(row)) row = there.top;
      if (Math.abs(there.top - row) > 4) break;
      const apart = Math.abs(there.left - here.left);
      if (apart < distance) [best, distance] = [order[next], apart];
    }
    return best;
  }

  /** Select cells, or not any more. @param {number[]} ids @param {boolean} on */
  select(ids, on) {
    for (const id of ids) {
      if (on) this.selected.add(id);
      else this.selected.delete(id);
      this.tiles.get(id)?.setAttribute("aria-selected", String(on));
    }
    this.chosen();
  }

  clear() {
    this.select([...this.selected], false);
  }
}
