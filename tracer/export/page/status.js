// SPDX-License-Identifier: Apache-2.0
// Keeps the page up to date. What is there is patched, not made anew: selection, focus, open
// details and the filter stay. Names are hostile: they only ever become texts and attributes.
"use strict";
(() => {
  const EVERY_MS = 1000;
  const PATIENCE_MS = 4000;
  const byId = (id) => document.getElementById(id);
  // Not location.href: fetch refuses an address with a name and a password in it.
  const source = new URL("status/now.json", location.origin + location.pathname);

  // ---- patching ----------------------------------------------------------------------

  const setText = (element, text) => {
    if (element.textContent !== text) element.textContent = text;
  };

  // What of an element changes: [field, how to set it].
  const partsOf = (element) => {
    const parts = [];
    for (const each of [element, ...element.querySelectorAll("[data-text],[data-set]")]) {
      if (each.dataset.text) {
        parts.push([each.dataset.text, (value) => setText(each, value)]);
      }
      for (const pair of (each.dataset.set || "").split(" ").filter(Boolean)) {
        const [attribute, field] = pair.split(":");
        parts.push([field, (value) => {
          if (each.getAttribute(attribute) !== String(value)) each.setAttribute(attribute, value);
        }]);
      }
    }
    return parts;
  };

  // Items by key below one element, adopted from the page as it was served.
  const list = (parent, template) => {
    const entries = new Map();
    const adopt = (element, key) => {
      const entry = { element, parts: partsOf(element), seen: "" };
      entries.set(key, entry);
      return entry;
    };
    for (const element of parent.children) adopt(element, element.dataset.key);
    const make = (key) => {
      const element = template.content.firstElementChild.cloneNode(true);
      element.dataset.key = key;
      return adopt(element, key);
    };
    const update = (items) => {
      const keys = new Set(items.map((item) => item.key));
      for (const [key, { element }] of entries) {
        if (!keys.has(key)) {
          element.remove();
          entries.delete(key);
        }
      }
      let next = parent.firstElementChild;
      for (const item of items) {
        const entry = entries.get(item.key) || make(item.key);
        const text = JSON.stringify(item);
        if (entry.seen !== text) {
          entry.seen = text;
          for (const [field, set] of entry.parts) set(item[field]);
        }
        if (entry.element === next) next = next.nextElementSibling;
        else parent.insertBefore(entry.element, next);
      }
    };
    return { entries, update };
  };

  const flags = list(byId("flags"), byId("flag"));
  const interfaces = list(byId("interfaces"), byId("interface"));
  const totals = list(byId("totals"), byId("total"));

  // ---- time --------------------------------------------------------------------------

  let ahead = Number(document.body.dataset.now) - Date.now(); // the node's clock, of ours
  const two = (number) => String(number).padStart(2, "0");
  const age = (milliseconds) => {
    const s = Math.max(0, Math.floor(milliseconds / 1000));
    const [m, h, d] = [Math.floor(s / 60), Math.floor(s / 3600), Math.floor(s / 86400)];
    if (d) return `${d}d${two(h % 24)}h`;
    if (h) return `${h}h${two(m % 60)}m`;
    return m ? `${m}m${two(s % 60)}s` : `${s}s`;
  };
  const utc = (date) => date.toISOString().slice(0, 19).replace("T", " ");
  const clock = (date) => [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(":");
  const moment = (milliseconds) => {
    const date = new Date(milliseconds);
    const local = date.getTimezoneOffset() ? ` (${clock(date)} here)` : "";
    return `${utc(date)} UTC${local}`;
  };
  const tellAges = () => {
    const now = Date.now() + ahead;
    for (const { element } of flags.entries.values()) {
      const cell = element.querySelector(".since");
      const since = Number(cell.dataset.since);
      const time = cell.querySelector("time");
      setText(cell.querySelector(".age"), age(now - since));
      setText(time, moment(since));
      time.dateTime = new Date(since).toISOString();
    }
  };

  // ---- filter ------------------------------------------------------------------------

  const filter = byId("filter");
  const words = ["interface", "pod", "netns", "state", "reason", "means", "target"];
  const searched = (element) =>
    [...element.querySelectorAll("[data-text]")]
      .filter((each) => words.includes(each.dataset.text))
      .map((each) => each.textContent).join(" ").toLowerCase();
  let filtered = false;
  const applyFilter = () => {
    const wanted = filter.value.trim().toLowerCase();
    if (!wanted && !filtered) return;
    filtered = Boolean(wanted);
    const reasons = new Map(); // an interface is found by its flag's reason too
    for (const [key, { element }] of flags.entries) {
      const text = searched(element);
      element.hidden = !text.includes(wanted);
      const owner = key.slice(0, key.lastIndexOf("-"));
      reasons.set(owner, `${reasons.get(owner) || ""} ${text}`);
    }
    let shown = 0;
    for (const [key, { element }] of interfaces.entries) {
      const text = `${searched(element)} ${reasons.get(key) || ""}`;
      element.hidden = !text.includes(wanted);
      shown += element.hidden ? 0 : 1;
    }
    const of = interfaces.entries.size.toLocaleString("en");
    setText(byId("shown"), wanted ? `${shown.toLocaleString("en")} of ${of}` : "");
  };
  filter.addEventListener("input", applyFilter);

  // ---- copying -----------------------------------------------------------------------

  const select = (element) => {
    const range = document.createRange();
    range.selectNodeContents(element);
    const selection = getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
  };
  // The clipboard's own interface is for https alone.
  const copy = async (element) => {
    if (window.isSecureContext && navigator.clipboard) {
      try {
        await navigator.clipboard.writeText(element.textContent);
        return true;
      } catch { /* not allowed: the old way may be */ }
    }
    select(element);
    return document.execCommand("copy");
  };
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button.copy");
    if (!button) return;
    const copied = await copy(button.parentElement.querySelector("pre"));
    setText(button, copied ? "Copied" : "Selected");
    setText(byId("told"), copied ? "copied" : "selected: copy it with the keyboard");
    setTimeout(() => {
      setText(button, "Copy");
      setText(byId("told"), "");
    }, 2000);
  });

  // ---- reasons -----------------------------------------------------------------------

  const openReason = () => {
    const details = location.hash.startsWith("#reason-") && byId(location.hash.slice(1));
    if (details) details.open = true;
  };
  addEventListener("hashchange", openReason);
  document.addEventListener("click", (event) => {
    // The same address again is no hashchange.
    if (event.target.closest(".why a")) setTimeout(openReason);
  });

  // ---- updates -----------------------------------------------------------------------

  let etag = "";
  let answeredAt = Date.now();
  let timer = 0;

  const show = (status) => {
    byId("headline").className = status.level;
    setText(byId("said"), status.headline);
    setText(byId("quiet"), status.quiet);
    setText(byId("lost"), status.lost);
    document.title = `${status.headline} - ${document.body.dataset.node} - arpwhy`;
    flags.update(status.flags);
    interfaces.update(status.interfaces);
    totals.update(status.totals);
    applyFilter();
  };

  const answered = () => {
    answeredAt = Date.now();
    byId("offline").hidden = true;
    tellAges();
    setText(byId("updated"), `As of ${moment(answeredAt + ahead)}.`);
  };

  const failed = (why) => {
    const offline = byId("offline");
    offline.hidden = false;
    setText(offline, `${why} (since ${clock(new Date(answeredAt))}; retrying)`);
  };

  const poll = async () => {
    try {
      const response = await fetch(source, {
        headers: etag ? { "If-None-Match": etag } : {},
        cache: "no-store",
        signal: AbortSignal.timeout(PATIENCE_MS),
      });
      if (response.status !== 304) {
        if (!response.ok) {
          const why = (await response.text()).split("\n")[0].slice(0, 200);
          return failed(`The server says: ${response.status} ${why}`);
        }
        show(await response.json());
        etag = response.headers.get("ETag") || "";
      }
      const now = Number(response.headers.get("Arpwhy-Time"));
      if (now) ahead = now - Date.now();
      return answered();
    } catch {
      return failed("No answer from the server");
    }
  };

  // One at a time, and none while nobody looks.
  let running = false;
  const run = async () => {
    clearTimeout(timer);
    if (running || document.hidden) return;
    running = true;
    const began = performance.now();
    await poll();
    running = false;
    timer = setTimeout(run, Math.max(0, EVERY_MS - (performance.now() - began)));
  };
  document.addEventListener("visibilitychange", run);

  document.documentElement.classList.add("js");
  tellAges();
  openReason();
  run();
})();
