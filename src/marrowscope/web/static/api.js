// @ts-check
/** Calls to the interface under /api/v1, and the line that says what became of them. */

/** What went wrong, in the server's words. */
export class Problem extends Error {
  /** @param {number} status @param {string} detail */
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

/** @param {string} name @returns {string} */
const meta = (name) =>
  document.querySelector(`meta[name=${name}]`)?.getAttribute("content") ?? "";

/** @returns {Record<string, string>} */
export const secure = () => ({ "X-CSRF-Token": meta("csrf") });

/**
 * Call the interface; gives what it answers.
 * @param {string} method @param {string} path @param {unknown} [body] @returns {Promise<any>}
 */
export async function call(method, path, body) {
  /** @type {Record<string, string>} */
  const headers = { Accept: "application/json", ...secure() };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(`/api/v1${path}`, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new Problem(0, "The server cannot be reached; what you did last was not kept.");
  }
  return read(answer.status, await answer.text());
}

/**
 * Give what an answer says.
 * @param {number} status @param {string} text @returns {any}
 */
export function read(status, text) {
  let found;
  try {
    found = text ? JSON.parse(text) : null;
  } catch {
    throw new Problem(status, `The server answered ${status}, in no words that this page knows.`);
  }
  if (status >= 400) {
    if (status === 401) location.reload();
    throw new Problem(status, found?.detail ?? `The server answered ${status}.`);
  }
  return found;
}

let hiding = 0;

/**
 * Say something in the line at the foot of the page; screen readers read it too.
 * @param {string} words @param {boolean} [wrong]
 */
export function say(words, wrong = false) {
  const line = one("#said");
  line.textContent = words;
  line.classList.toggle("wrong", wrong);
  line.classList.add("shown");
  clearTimeout(hiding);
  hiding = window.setTimeout(() => line.classList.remove("shown"), wrong ? 9000 : 4000);
}

/**
 * Do something, and say what went wrong if it did.
 * @template T @param {() => Promise<T>} deed @returns {Promise<T | undefined>}
 */
export async function trying(deed) {
  try {
    return await deed();
  } catch (error) {
    say(error instanceof Error ? error.message : String(error), true);
    return undefined;
  }
}

/**
 * Give an element that the page must have.
 * @template {Element} [T=HTMLElement] @param {string} selector @param {ParentNode} [within] @returns {T}
 */
export function one(selector, within = document) {
  const found = within.querySelector(selector);
  if (!found) throw new Error(`the page has no ${selector}`);
  return /** @type {T} */ (/** @type {unknown} */ (found));
}

/**
 * Make an element; text is text, never markup.
 * @param {string} kind @param {Record<string, string | number | boolean>} [values]
 * @param {...(Node | string)} inside @returns {HTMLElement}
 */
export function make(kind, values = {}, ...inside) {
  const element = document.createElement(kind);
  for (const [name, value] of Object.entries(values)) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== false) element.setAttribute(name, String(value));
  }
  element.append(...inside);
  return element;
}

/**
 * Send a form by a call; what is wrong stands in the form.
 * @param {HTMLFormElement} form @param {(values: Record<string, string>) => Promise<void>} deed
 */
export function onSend(form, deed) {
  const wrong = one(".wrong", form);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    wrong.hidden = true;
    const button = /** @type {HTMLButtonElement} */ (form.querySelector("button:not([type=button])"));
    button.disabled = true;
    try {
      const values = Object.fromEntries(
        [...new FormData(form)].map(([name, value]) => [name, String(value)]),
      );
      await deed(values);
    } catch (error) {
      wrong.textContent = error instanceof Error ? error.message : String(error);
      wrong.hidden = false;
    } finally {
      button.disabled = false;
    }
  });
}
