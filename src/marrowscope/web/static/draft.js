// @ts-check
/** A box that is being drawn around a missed cell, by hand or by keys. */
import { make, one } from "./api.js";

/** @typedef {{x0: number, y0: number, x1: number, y1: number}} Sides */
/** @typedef {{width: number, height: number, um_per_px: number | null}} Size */
const USUAL_UM = 15;
const SMALLEST = 8;

/** Lets a box be drawn on a field; `done` hears its sides in pixels of the field. */
export class Draft {
  /** @param {HTMLElement} stage @param {HTMLElement} frame @param {(box: Sides) => void} done */
  constructor(stage, frame, done) {
    this.stage = stage;
    this.frame = frame;
    this.done = done;
    /** @type {Size | null} */
    this.field = null;
    /** @type {Sides | null} */
    this.box = null;
    /** @type {HTMLElement | null} */
    this.shown = null;
    /** @type {{x: number, y: number} | null} */
    this.from = null;
    stage.addEventListener("pointerdown", (event) => this.press(event));
    stage.addEventListener("pointermove", (event) => this.drag(event));
    stage.addEventListener("pointerup", () => this.release());
    stage.addEventListener("pointercancel", () => (this.from = null));
  }

  get on() {
    return this.field !== null;
  }

  /** Begin with a box in the middle of what is seen, as large as a usual cell. @param {Size} field */
  begin(field) {
    this.field = field;
    this.stage.classList.add("drawing");
    const share = field.width / this.stage.clientWidth;
    const x = Math.min(field.width, (this.frame.scrollLeft + Math.min(this.frame.clientWidth, this.stage.clientWidth) / 2) * share);
    const y = Math.min(field.height, (this.frame.scrollTop + Math.min(this.frame.clientHeight, this.stage.clientHeight) / 2) * share);
    const half = USUAL_UM / (field.um_per_px ?? 0.1) / 2;
    this.shown = make("button", { type: "button", class: "box draft", "aria-label": "New box: arrows move it, with Shift they size it, Enter adds it, Escape drops it; or draw it with the mouse" });
    this.stage.append(this.shown);
    this.show({ x0: x - half, y0: y - half, x1: x + half, y1: y + half });
    this.shown.focus();
  }

  drop() {
    this.shown?.remove();
    this.stage.classList.remove("drawing");
    one("#draw").setAttribute("aria-pressed", "false");
    [this.field, this.box, this.shown, this.from] = [null, null, null, null];
  }

  /** @param {Sides} box */
  show(box) {
    this.box = box;
    if (this.shown && this.field) this.put(this.shown, box, this.field);
  }

  /** Lay a box over its place on the field. @param {HTMLElement} element @param {Sides} box @param {Size} field */
  put(element, box, field) {
    element.style.left = `${(100 * box.x0) / field.width}%`;
    element.style.top = `${(100 * box.y0) / field.height}%`;
    element.style.width = `${(100 * (box.x1 - box.x0)) / field.width}%`;
    element.style.height = `${(100 * (box.y1 - box.y0)) / field.height}%`;
  }

  /** @param {PointerEvent} event */
  point(event) {
    const area = this.stage.getBoundingClientRect();
    const share = (this.field?.width ?? 1) / area.width;
    return { x: (event.clientX - area.left) * share, y: (event.clientY - area.top) * share };
  }

  /** @param {PointerEvent} event */
  press(event) {
    if (!this.on) return;
    event.preventDefault();
    this.stage.setPointerCapture(event.pointerId);
    this.from = this.point(event);
  }

  /** @param {PointerEvent} event */
  drag(event) {
    if (!this.from) return;
    const to = this.point(event);
    this.show({ x0: Math.min(this.from.x, to.x), y0: Math.min(this.from.y, to.y), x1: Math.max(this.from.x, to.x), y1: Math.max(this.from.y, to.y) });
  }

  release() {
    const drawn = this.from && this.box && Math.min(this.box.x1 - this.box.x0, this.box.y1 - this.box.y0) >= SMALLEST;
    this.from = null;
    if (drawn) this.add();
  }

  add() {
    const box = this.box;
    if (!box) return;
    const whole = { x0: Math.round(box.x0), y0: Math.round(box.y0), x1: Math.round(box.x1), y1: Math.round(box.y1) };
    this.drop();
    this.done(whole);
  }

  /** Take a key; tells whether it was one for the box. @param {KeyboardEvent} event */
  key(event) {
    if (!this.box || !this.field) return false;
    if (event.key === "Enter") this.add();
    else if (event.key.startsWith("Arrow")) this.move(event.key, event.shiftKey);
    else return false;
    event.preventDefault();
    return true;
  }

  /** @param {string} key @param {boolean} size */
  move(key, size) {
    const { x0, y0, x1, y1 } = /** @type {Sides} */ (this.box);
    const step = Math.max(2, Math.round((this.field?.width ?? 0) / 100));
    const x = key === "ArrowRight" ? step : key === "ArrowLeft" ? -step : 0;
    const y = key === "ArrowDown" ? step : key === "ArrowUp" ? -step : 0;
    if (size) this.show({ x0, y0, x1: Math.max(x0 + SMALLEST, x1 + x), y1: Math.max(y0 + SMALLEST, y1 + y) });
    else this.show({ x0: x0 + x, y0: y0 + y, x1: x1 + x, y1: y1 + y });
  }
}
