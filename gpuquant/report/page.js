"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const photos = data.photos.map((values) => Object.fromEntries(data.fields.map((field, place) => [field, values[place]])));
  const list = document.getElementById("photos");
  const search = document.getElementById("search");
  const sort = document.getElementById("sort");
  const MOST_AHEAD = "1200px 0px"; // how far below the window a photo is filled in: two to three rows of cards
  const NARROW = 0.75; // width of a picture, of its height, in which there is no room for words, which are then beside it,
  const FLAT = 12; // and that from which on there is none for their height
  const FASTEST = 0.005; // seconds of a stage that are told
  const DRAGGED = 4; // pixels that a pointer moves before it drags, and is no click

  // An element with attributes and children; texts are texts, whatever they hold.
  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      element.setAttribute(name, value);
    }
    element.append(...children.filter((child) => child !== null));
    return element;
  }

  function bytes(number) {
    for (const [unit, name] of [[1e9, "GB"], [1e6, "MB"], [1e3, "KB"]]) {
      if (number >= unit) {
        return `${Number((number / unit).toPrecision(3))} ${name}`;
      }
    }
    return `${number} bytes`;
  }

  function unknown() {
    return make("span", { class: "unknown" }, "unknown");
  }

  function percent(share) {
    if (share < 0.0005) {
      return share ? "<0.1%" : "0%";
    }
    return share >= 0.1 ? `${Math.round(100 * share)}%` : `${(100 * share).toFixed(1)}%`;
  }

  // What a photo is ordered by; null comes last.
  const psnr = (photo) => (photo.error ? null : photo.mse === 0 ? Infinity : photo.psnr);
  const saved = (photo) => (photo.bytesIn && photo.bytesOut !== null ? photo.bytesOut / photo.bytesIn : null);
  const work = (photo) => {
    const stages = Object.values(photo.seconds);
    return stages.length ? stages.reduce((sum, seconds) => sum + seconds, 0) : null;
  };
  const byName = new Intl.Collator("en", { numeric: true }).compare;
  const orders = {
    worst: [(photo) => (photo.error ? -1 : psnr(photo)), 1],
    best: [psnr, -1],
    unlike: [(photo) => photo.ssim, 1],
    name: [() => 0, 1],
    large: [(photo) => photo.bytesOut, -1],
    grown: [saved, -1],
    slow: [work, -1],
  };

  function compared(one, other, [key, sign]) {
    const [first, second] = [key(one), key(other)];
    if (first === second) {
      return byName(one.name, other.name);
    }
    if (first === null || second === null) {
      return first === null ? 1 : -1;
    }
    return sign * (first < second ? -1 : 1);
  }

  function arrange() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const only = document.querySelector("input[name=only]:checked").value;
    const found = photos.filter((photo) => {
      const fits = only === "all" || (only === "failed" ? photo.error !== null : photo.warnings.length > 0);
      return fits && words.every((word) => photo.name.toLowerCase().includes(word));
    });
    found.sort((one, other) => compared(one, other, orders[sort.value]));
    list.replaceChildren(...found.map((photo) => photo.element));
    const all = photos.length === 1 ? "1 photo" : `${photos.length} photos`;
    document.getElementById("shown").textContent = found.length === photos.length ? all : `${found.length} of ${all}`;
  }

  function opener(link, what) {
    return link && make("a", { href: link, target: "_blank", rel: "noopener" }, `open the ${what}`);
  }

  // The two pictures above each other, of which the upper one begins at the divider.
  function comparison(photo) {
    const sides = [["before", photo.source, "original"], ["after", photo.target, "result"]];
    const there = sides.filter(([side]) => photo[side]);
    if (!there.length) {
      return make("div", { class: "frame none" }, "no pictures", ...sides.map(([, link, what]) => opener(link, what)));
    }
    const box = make("div", { class: there.length === 2 ? "compare both" : "compare" });
    for (const [side, link, what] of there) {
      const picture = make("img", {
        src: data.files + photo[side], alt: `${photo.name}, ${side}`, loading: "lazy", decoding: "async", draggable: "false",
      });
      const opened = link ? { href: link, target: "_blank", rel: "noopener", title: `open the ${what}` } : {};
      box.append(make("a", { class: side, ...opened }, picture));
    }
    const frame = make("div", { class: "frame" }, box);
    let labeled = box;
    if (photo.width && photo.height) {
      const ratio = photo.width / photo.height;
      box.style.setProperty("--ratio", String(ratio));
      labeled = ratio < NARROW || ratio > FLAT ? frame : box;
    }
    if (there.length === 2) {
      labeled.append(make("span", { class: "side left" }, "before"), make("span", { class: "side right" }, "after"));
      slide(box, photo.name);
    } else {
      labeled.append(make("span", { class: "side left" }, there[0][0]));
    }
    return frame;
  }

  function slide(box, name) {
    const range = make("input", { type: "range", min: "0", max: "100", value: "50", "aria-label": `Divider of ${name}` });
    const divider = make("div", { class: "divider" });
    const put = (percentage) => {
      const at = Math.min(100, Math.max(0, percentage));
      box.style.setProperty("--at", `${at}%`);
      range.value = String(at);
      range.setAttribute("aria-valuetext", `${Math.round(at)} % before`);
    };
    let start = null;
    let dragged = false;
    box.addEventListener("pointerdown", (event) => {
      if (event.button === 0) {
        start = event.clientX;
        dragged = false;
      }
    });
    box.addEventListener("pointermove", (event) => {
      if (start === null || (!dragged && Math.abs(event.clientX - start) < DRAGGED)) {
        return;
      }
      if (!dragged) {
        dragged = true;
        box.setPointerCapture(event.pointerId);
      }
      const { left, width } = box.getBoundingClientRect();
      put((100 * (event.clientX - left)) / width);
    });
    for (const kind of ["pointerup", "pointercancel"]) {
      box.addEventListener(kind, () => { start = null; });
    }
    box.addEventListener("click", (event) => {
      if (dragged) {
        event.preventDefault();
        dragged = false;
      }
    }, true);
    box.addEventListener("dragstart", (event) => event.preventDefault());
    range.addEventListener("input", () => put(Number(range.value)));
    box.append(divider, range);
    put(50);
  }

  function facts(photo) {
    const rows = make("dl", { class: "facts" });
    const add = (what, value, kind = "") => {
      rows.append(make("dt", {}, what), make("dd", kind ? { class: kind } : {}, ...(value === null ? [unknown()] : [value].flat())));
    };
    add("PSNR", photo.mse === 0 ? "lossless" : photo.psnr === null ? null : `${photo.psnr.toFixed(2)} dB`);
    add("SSIM", photo.ssim === null ? null : photo.ssim.toFixed(3));
    const size = photo.width && photo.height ? `${photo.width} × ${photo.height}` : null;
    const colors = photo.nColors === null ? null : photo.nColors === 1 ? "1 color" : `${photo.nColors} colors`;
    add("pixels", size && colors ? `${size}, ${colors}` : size || colors, "wide");
    const share = saved(photo);
    const [before, after] = [photo.bytesIn, photo.bytesOut].map((number) => (number === null ? "unknown" : bytes(number)));
    add("size", `${before} → ${after}${share === null ? "" : `, ${percent(share)}`}`, "wide");
    const stages = Object.entries(photo.seconds).filter(([, seconds]) => seconds >= FASTEST).map(([stage, seconds]) => `${stage} ${seconds.toFixed(2)}`);
    const seconds = work(photo);
    add("time", seconds === null ? null : [`${seconds.toFixed(2)} s`, make("span", { class: "stages" }, stages.join(" · "))], "wide");
    return rows;
  }

  // One stop of the tab key, with arrow keys among the colors; the line below names the one that is looked at.
  function palette(photo) {
    const step = photo.colors.length / (photo.shares.length || 1);
    const colors = photo.shares.map((share, place) => ({
      hex: photo.colors.slice(place * step, (place + 1) * step),
      share: share / 10000,
      name: data.words[photo.names[place]],
    }));
    const line = make("p", { class: "readout", role: "status" });
    const say = (color, copied) => {
      const more = photo.nColors > colors.length ? make("span", { class: "more" }, `and ${photo.nColors - colors.length} more`) : null;
      line.replaceChildren(make("code", {}, color.hex), `${color.name}${copied}`, ...(more ? [more] : []));
    };
    const row = make("div", { class: "palette", role: "toolbar", "aria-label": `Colors of ${photo.name}` });
    const buttons = colors.map((color, place) => {
      const fill = make("i");
      fill.style.backgroundColor = color.hex;
      const label = `${color.hex}, ${color.name}, ${percent(color.share)}; copy`;
      const button = make("button", { type: "button", tabindex: place ? "-1" : "0", "aria-label": label, title: `${color.hex} ${color.name}` },
        make("span", { class: "clear" }, fill), percent(color.share));
      button.addEventListener("click", async () => say(color, (await copy(color.hex)) ? ": copied" : ": cannot be copied here"));
      for (const kind of ["focus", "pointerenter"]) {
        button.addEventListener(kind, () => say(color, ""));
      }
      return button;
    });
    row.append(...buttons);
    row.addEventListener("keydown", (event) => {
      const from = buttons.indexOf(document.activeElement);
      const last = buttons.length - 1;
      const to = { ArrowRight: Math.min(from + 1, last), ArrowLeft: Math.max(from - 1, 0), Home: 0, End: last }[event.key];
      if (from >= 0 && to !== undefined) {
        event.preventDefault();
        buttons[from].tabIndex = -1;
        buttons[to].tabIndex = 0;
        buttons[to].focus();
      }
    });
    say(colors[0], "");
    return [row, line];
  }

  // navigator.clipboard is missing on pages that are not served over https; the older way needs a field with the text.
  async function copy(text) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      const [focused, field] = [document.activeElement, make("textarea", { readonly: "", class: "unseen" })];
      field.value = text;
      document.body.append(field);
      field.select();
      const done = document.execCommand("copy");
      field.remove();
      focused?.focus();
      return done;
    }
  }

  function fill(photo) {
    if (photo.isFilled) {
      return;
    }
    photo.isFilled = true;
    const card = photo.element;
    if (photo.error !== null) {
      card.append(make("p", { class: "error" }, `Failed: ${photo.error}`));
      if (photo.source) {
        card.append(make("p", {}, opener(photo.source, "original")));
      }
    } else {
      card.append(comparison(photo), facts(photo), ...(photo.shares.length ? palette(photo) : []));
      if (photo.settings && !document.querySelector(".about bdi")) {
        card.append(make("p", { class: "settings" }, photo.settings));
      }
    }
    if (photo.warnings.length) {
      card.append(make("ul", { class: "warnings" }, ...photo.warnings.map((warning) => make("li", {}, warning))));
    }
  }

  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries.filter((one) => one.isIntersecting)) {
      seen.unobserve(entry.target);
      fill(photos[Number(entry.target.dataset.place)]);
    }
  }, { rootMargin: MOST_AHEAD });
  photos.forEach((photo, place) => {
    const cut = photo.name.lastIndexOf("/") + 1;
    const folder = cut ? make("span", { class: "folder" }, photo.name.slice(0, cut)) : null;
    const title = make("h3", {}, make("bdi", {}, folder, photo.name.slice(cut)));
    photo.element = make("article", { class: photo.error === null ? "photo" : "photo failed" }, title);
    photo.element.dataset.place = String(place);
    seen.observe(photo.element);
  });
  window.addEventListener("beforeprint", () => photos.forEach(fill));
  search.addEventListener("input", arrange);
  for (const chosen of [sort, ...document.querySelectorAll("input[name=only]")]) {
    chosen.addEventListener("change", arrange);
  }
  arrange();
})();
