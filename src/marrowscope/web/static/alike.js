// @ts-check
/** The known cells most alike: each can be laid beside the cell that is looked at. */
import { make, one } from "./api.js";

/** @typedef {{label: string, similarity: number, source: string, picture: string}} Known */

/** Shows known cells in the large view. */
export class Alike {
  /** @param {string} from Address of the case. @param {(code: string) => string} nameOf */
  constructor(from, nameOf) {
    this.from = from;
    this.nameOf = nameOf;
    this.list = one("#similar");
    this.beside = one("#beside");
  }

  /** Say something else in their place. @param {string} words */
  say(words) {
    this.list.replaceChildren(words);
    this.beside.hidden = true;
  }

  /** @param {Known[]} known @param {string} credit */
  show(known, credit) {
    if (!known.length) return this.say("This model keeps none.");
    if (!known.every((each) => each.picture)) return this.say(known.map((each) => `${each.label} ${likeness(each)}`).join(", "));
    const cells = known.map((each) => make("li", {}, this.button(each)));
    const words = `Likeness to the network, 100%: the same. ${credit}`;
    this.list.replaceChildren(make("ul", { class: "alike" }, ...cells), make("p", { class: "credit" }, words));
  }

  /** @param {Known} known */
  button(known) {
    const picture = make("img", { src: this.address(known), alt: `Known ${this.nameOf(known.label).toLowerCase()}`, width: 72, height: 72 });
    const words = make("span", {}, make("strong", {}, known.label), ` ${likeness(known)}`, make("small", {}, known.source));
    const button = make("button", { type: "button", "aria-pressed": "false", title: "Show it beside the cell" }, picture, words);
    button.addEventListener("click", () => this.lay(known, button));
    return button;
  }

  /** Lay a known cell beside the one that is looked at, or take it away. @param {Known} known @param {HTMLElement} button */
  lay(known, button) {
    const shown = button.getAttribute("aria-pressed") !== "true";
    for (const each of this.list.querySelectorAll("button")) each.setAttribute("aria-pressed", String(shown && each === button));
    this.beside.hidden = !shown;
    const picture = /** @type {HTMLImageElement} */ (one("img", this.beside));
    picture.src = this.address(known);
    picture.alt = `Known ${this.nameOf(known.label).toLowerCase()}`;
    if (shown) one("#stage").scrollIntoView({ block: "nearest" });
    one("figcaption", this.beside).textContent = `Known cell: ${known.label}, ${likeness(known)}`;
  }

  /** @param {Known} known */
  address(known) {
    return `${this.from}/known-cells/${known.picture}`;
  }
}

/** @param {Known} known */
function likeness(known) {
  return `${(100 * known.similarity).toFixed(0)}%`;
}
