// @ts-check
/** Log in, then go where one wanted to. */
import { one, onSend, Problem } from "./api.js";

/** @returns {string} an address of this site alone */
function wanted() {
  const next = new URLSearchParams(location.search).get("next") ?? "/cases";
  const address = new URL(next, location.origin);
  return address.origin === location.origin ? address.pathname + address.search : "/cases";
}

onSend(one("#login"), async (values) => {
  const answer = await fetch("/api/v1/session", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(values),
  });
  if (!answer.ok) throw new Problem(answer.status, (await answer.json()).detail);
  location.assign(wanted());
});
