// What the pages cannot do without: relative times, the age of the data, dialogs, and upload bars.
// All of it is comfort; every page can be read, and every form sent, without this file.
"use strict";
(() => {
  const every = (selector, act, root = document) => root.querySelectorAll(selector).forEach(act);
  const pad = (number) => String(number).padStart(2, "0");
  let answered = Date.now();
  let failing = false;

  function span(seconds) {
    const s = Math.max(0, seconds);
    if (s < 10) return s.toFixed(1) + " s";
    if (s < 60) return Math.floor(s) + " s";
    if (s < 3600) return Math.floor(s / 60) + " min " + pad(Math.floor(s % 60)) + " s";
    if (s < 86400) return Math.floor(s / 3600) + " h " + pad(Math.floor((s % 3600) / 60)) + " min";
    return Math.floor(s / 86400) + " d " + Math.floor((s % 86400) / 3600) + " h";
  }
  function ago(seconds) {
    if (Math.abs(seconds) < 5) return "now";
    const s = Math.abs(seconds);
    const text = s < 60 ? Math.floor(s) + " s" : s < 3600 ? Math.floor(s / 60) + " min"
      : s < 86400 ? Math.floor(s / 3600) + " h" : Math.floor(s / 86400) + " d";
    return seconds > 0 ? text + " ago" : "in " + text;
  }
  function tick() {
    const now = Date.now();
    every("time[data-ago]", (el) => {
      const at = Date.parse(el.dateTime);
      el.textContent = ago((now - at) / 1000);
      el.title = new Date(at).toLocaleString();
    });
    every("time[data-clock]", (el) => {
      const at = new Date(el.dateTime);
      el.textContent = pad(at.getHours()) + ":" + pad(at.getMinutes()) + ":" + pad(at.getSeconds());
      el.title = at.toLocaleString();
    });
    every("[data-since]", (el) => { el.textContent = span((now - Date.parse(el.dataset.since)) / 1000); });
    every("[data-until]", (el) => {
      const left = (Date.parse(el.dataset.until) - now) / 1000;
      el.textContent = left > 0 ? "in about " + span(left < 10 ? left : Math.round(left)).replace(/\.\d/, "") : "any moment now";
    });
    every("[data-age]", (el) => {
      const old = (now - answered) / 1000;
      const live = document.getElementById("live")?.hasAttribute("hx-trigger");
      const stale = live && (failing || old > 15);
      el.classList.toggle("is-live", Boolean(live && !stale));
      el.classList.toggle("is-stale", Boolean(stale));
      el.textContent = stale ? "no answer; data is " + span(old).replace(/\.\d/, "") + " old"
        : live ? "live, " + (old < 2 ? "just now" : Math.floor(old) + " s ago")
        : "read " + ago(old).replace("now", "just now");
    });
  }
  tick();
  setInterval(tick, 500);

  // A fragment that is replaced keeps what the reader had opened and where he had scrolled.
  let open = [];
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (event.detail.target.id !== "live") return;
    open = [...document.querySelectorAll("#live details[id][open]")].map((el) => el.id);
  });
  document.addEventListener("htmx:afterSettle", () => {
    open.forEach((id) => document.getElementById(id)?.setAttribute("open", ""));
    open = [];
    tick();
  });
  document.addEventListener("htmx:afterRequest", (event) => {
    const status = event.detail.xhr ? event.detail.xhr.status : 0;
    // Not `detail.elt`: what asked has been replaced by its answer.
    if (event.detail.requestConfig?.elt?.id !== "live") return;
    failing = !(status >= 200 && status < 400);
    if (!failing) answered = Date.now();
  });

  // A run says when it has changed; the page then looks again, sooner than it would by itself.
  const signs = document.getElementById("live")?.dataset.signs;
  if (signs && window.EventSource) {
    const source = new EventSource(signs);
    source.addEventListener("change", () => {
      const live = document.getElementById("live");
      if (live?.dataset.signs) htmx.trigger(live, "changed");
      else source.close();
    });
    source.onerror = () => { if (!document.getElementById("live")?.dataset.signs) source.close(); };
    addEventListener("pagehide", () => source.close());
  }

  // A link that asks for confirmation opens its page as a dialog.
  const dialog = document.getElementById("dialog");
  document.addEventListener("htmx:afterSwap", (event) => {
    if (event.detail.target.id === "dialog-body" && dialog && !dialog.open) dialog.showModal();
  });
  document.addEventListener("click", (event) => {
    if (event.target === dialog || event.target.closest?.("#dialog [data-close]")) {
      event.preventDefault();
      dialog.close();
    }
    const copy = event.target.closest?.("[data-copy]");
    if (copy) {
      const text = document.getElementById(copy.dataset.copy).textContent;
      navigator.clipboard?.writeText(text).then(() => { copy.textContent = "Copied"; });
    }
  });

  // Files: names and pictures before they are sent, and a bar while they are.
  function shown(input) {
    const list = document.getElementById(input.id + "-chosen");
    if (!list) return;
    list.replaceChildren(...[...input.files].map((file) => {
      const item = document.createElement("div");
      item.className = "thumb";
      const pic = document.createElement("div");
      pic.className = "pic";
      if (file.type.startsWith("image/") && input.files.length <= 60) {
        const img = document.createElement("img");
        img.src = URL.createObjectURL(file);
        img.alt = "";
        img.onload = () => URL.revokeObjectURL(img.src);
        pic.append(img);
      }
      const name = document.createElement("span");
      name.textContent = file.name;
      item.append(pic, name);
      return item;
    }));
  }
  document.addEventListener("change", (event) => {
    if (event.target.type === "file") shown(event.target);
    if (event.target.dataset && "submits" in event.target.dataset) event.target.form.requestSubmit();
  });
  ["dragover", "dragleave", "drop"].forEach((name) => document.addEventListener(name, (event) => {
    const drop = event.target.closest?.(".drop");
    if (drop) drop.classList.toggle("is-over", name === "dragover");
  }));
  document.addEventListener("htmx:xhr:progress", (event) => {
    const bar = event.detail.elt?.querySelector?.("[data-upload]");
    if (!bar || !event.detail.lengthComputable) return;
    bar.hidden = false;
    const share = (100 * event.detail.loaded) / event.detail.total;
    bar.querySelector("rect").setAttribute("width", share.toFixed(1) + "%");
    bar.querySelector("span").textContent = share < 100 ? "Sending files: " + Math.floor(share) + " %" : "Storing files …";
  });
})();
