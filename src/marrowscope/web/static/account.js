// @ts-check
/** One's own password and tokens. */
import { call, one, onSend, say, trying } from "./api.js";

onSend(/** @type {HTMLFormElement} */ (one("#password")), async (values) => {
  await call("PUT", "/session/password", { old: values.old, new: values.new });
  location.reload();
});
onSend(/** @type {HTMLFormElement} */ (one("#new-token")), async ({ name }) => {
  const made = await call("POST", "/tokens", { name });
  one("#token-secret").textContent = made.secret;
  one("#token-made").hidden = false;
  say("The token is made.");
});
for (const button of document.querySelectorAll("button.revoke"))
  button.addEventListener("click", () => trying(async () => {
    await call("DELETE", `/tokens/${button.getAttribute("data-id")}`);
    location.reload();
  }));
