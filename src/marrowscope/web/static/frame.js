// @ts-check
/** What every page has: the way out. */
import { call, trying } from "./api.js";

document.querySelector("#log-out")?.addEventListener("click", () =>
  trying(async () => {
    await call("DELETE", "/session");
    location.assign("/login");
  }),
);
