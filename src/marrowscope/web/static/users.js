// @ts-check
/** Accounts, for administrators. */
import { call, one, onSend, say, trying } from "./api.js";

/** @param {{user: string, path: string}} link */
function showLink(link) {
  one("#link-for").textContent = link.user;
  one("#link-address").textContent = location.origin + link.path;
  one("#new-link").hidden = false;
  one("#new-link").scrollIntoView({ block: "center" });
}

onSend(/** @type {HTMLFormElement} */ (one("#new-user")), async (values) => {
  showLink(await call("POST", "/users", values));
  say(`${values.name} is added; load the page again to see the list anew.`);
});

for (const row of document.querySelectorAll("tr[data-name]")) {
  const name = row.getAttribute("data-name") ?? "";
  const path = `/users/${encodeURIComponent(name)}`;
  const role = /** @type {HTMLSelectElement} */ (one(".role", row));
  role.addEventListener("change", () => trying(async () => {
    const before = [...role.options].find((option) => option.defaultSelected)?.value ?? role.value;
    try {
      const made = await call("PATCH", path, { role: role.value });
      say(`${name} is a ${made.role} now.`);
    } catch (error) {
      role.value = before;
      throw error;
    }
  }));
  one(".link", row).addEventListener("click", () => trying(async () => showLink(await call("POST", `${path}/link`))));
  const turn = one(".switch", row);
  turn.addEventListener("click", () => trying(async () => {
    await call("PATCH", path, { active: !turn.dataset.active });
    location.reload();
  }));
}
