// @ts-check
/** Choose a password with a link; its secret stands behind the # and is sent nowhere else. */
import { call, one, onSend } from "./api.js";

const secret = location.hash.slice(1);
const form = /** @type {HTMLFormElement} */ (one("#link"));
const name = /** @type {HTMLInputElement} */ (one("[name=name]", form));
history.replaceState(null, "", location.pathname);

async function look() {
  const whom = one("#whom");
  try {
    const link = await call("POST", "/links/look", { secret });
    if (link.first) one("#welcome").textContent = "Welcome to the reading room";
    whom.textContent = link.first
      ? "Nobody has an account yet: you become its administrator."
      : `For ${link.name}.`;
    one("#name-field").hidden = !link.first;
    name.required = link.first;
    form.hidden = false;
  } catch (error) {
    whom.textContent = `${error instanceof Error ? error.message : error}`;
  }
}

onSend(form, async (values) => {
  if (values.password !== values.again) throw new Error("The two passwords are not the same.");
  await call("POST", "/links/use", { secret, password: values.password, name: values.name ?? "" });
  location.assign("/cases");
});
await look();
