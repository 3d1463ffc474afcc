// What a page does when one points, clicks, taps or presses keys. It is readable without.
"use strict";
(() => {
  const trials = JSON.parse(document.getElementById("trials").textContent);
  const tip = document.getElementById("tip");
  const said = document.getElementById("said");
  const REACH = 26; // pixels from a point at which it is pointed at
  document.documentElement.classList.add("live");

  // Copying

  async function copy(text, what) {
    let done = false;
    try {
      await navigator.clipboard.writeText(text);
      done = true;
    } catch {
      const area = document.createElement("textarea"); // where the clipboard is refused to a page from disk
      area.value = text;
      area.style.position = "fixed";
      area.style.opacity = "0";
      document.body.append(area);
      area.select();
      done = document.execCommand("copy");
      area.remove();
    }
    say(done ? `Copied ${what}` : "The browser refused to copy");
  }
  let silence = 0;
  function say(text) {
    said.textContent = text;
    said.classList.add("shown");
    clearTimeout(silence);
    silence = setTimeout(() => said.classList.remove("shown"), 1800);
  }
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy]");
    if (button) copy(button.dataset.copy, button.dataset.copy.startsWith("stem_") ? "the architecture" : "the command");
  });

  // What a network is

  function element(name, text, css) {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (css) made.className = css;
    return made;
  }
  const STAGE = /^([a-z]\w*?)_k(\d+)_s(\d+)_e(\d+)_c(\d+)_n(\d+)(?:_g(\d+))?(?:_se([\d.]+))?$/;
  function stages(text) {
    const table = element("table");
    const head = table.createTHead().insertRow();
    for (const name of ["stage", "kernel", "stride", "expand", "width", "layers", "se"]) head.append(element("th", name));
    const body = table.createTBody();
    for (const part of text.split("-")) {
      const row = body.insertRow();
      const found = STAGE.exec(part);
      const [name, width] = part.split("_c");
      const cells = found
        ? [found[1].replace("fused_mbconv", "Fused-MBConv").replace("mbconv", "MBConv"), found[2], found[3], found[4], found[5], found[6], found[8] || ""]
        : [name, "", "", "", width, "", ""];
      cells.forEach((cell, place) => row.append(element("td", cell, place ? "" : found ? found[1] : "")));
    }
    return table;
  }
  const architecture = (row) => trials.rows[row][trials.columns.length];
  function describe(row) {
    const values = trials.rows[row];
    tip.replaceChildren(element("h4", values[values.length - 1]));
    const list = element("dl");
    trials.columns.forEach((name, place) => {
      if (values[place] !== "") list.append(element("dt", name), element("dd", values[place]));
    });
    tip.append(list, stages(architecture(row)));
  }

  // The tip

  let pinned = false;
  function show(row, x, y, pin) {
    describe(row);
    pinned = pin;
    tip.classList.toggle("pinned", pin);
    if (pin) {
      const button = element("button", "Copy its text", "copy");
      button.type = "button";
      button.dataset.copy = architecture(row);
      tip.append(button);
    } else tip.append(element("p", "Click to copy its text.", "hint"));
    place(x, y);
  }
  function place(x, y) {
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    const right = x + 18 + box.width < innerWidth - 8 ? x + 18 : x - 18 - box.width;
    tip.style.left = `${Math.max(8, Math.min(right, innerWidth - box.width - 8))}px`;
    tip.style.top = `${Math.max(8, Math.min(y - box.height / 3, innerHeight - box.height - 8))}px`;
  }
  function hide() {
    tip.hidden = true;
    pinned = false;
    for (const mark of document.querySelectorAll(".mark")) mark.remove();
    for (const path of document.querySelectorAll(".pointed")) path.classList.remove("pointed");
  }
  document.addEventListener("keydown", (event) => event.key === "Escape" && hide());
  document.addEventListener("scroll", () => !pinned && hide(), { passive: true });
  document.addEventListener("pointerdown", (event) => {
    if (pinned && !tip.contains(event.target) && !event.target.closest(".points, .paths")) hide();
  });

  // Charts of points: the nearest one is pointed at

  function inside(svg, event) {
    const matrix = svg.getScreenCTM();
    return { x: (event.clientX - matrix.e) / matrix.a, y: (event.clientY - matrix.f) / matrix.d, scale: matrix.a };
  }
  function pointsOf(svg) {
    const found = [];
    for (const path of svg.querySelectorAll(".dots[data-rows]")) {
      const rows = path.dataset.rows.split(" ");
      const places = path.getAttribute("d").slice(1).split("M");
      rows.forEach((row, n) => row && found.push({ row: +row, x: parseFloat(places[n]), y: parseFloat(places[n].split(" ")[1]) }));
    }
    for (const ring of svg.querySelectorAll(".ring"))
      found.push({ row: +ring.dataset.row, x: +ring.getAttribute("cx"), y: +ring.getAttribute("cy"), ring });
    return found;
  }
  function nearest(points, at) {
    let best = null;
    let least = REACH / at.scale;
    for (const point of points) {
      const away = Math.hypot(point.x - at.x, point.y - at.y) - (point.ring ? 2 : 0);
      if (away < least) [best, least] = [point, away];
    }
    return best;
  }
  function mark(svg, point) {
    for (const old of document.querySelectorAll(".mark")) old.remove();
    const dot = document.createElementNS("http://www.w3.org/2000/svg", "circle");
    for (const [name, value] of Object.entries({ cx: point.x, cy: point.y, r: 5.5, class: "mark front" })) dot.setAttribute(name, value);
    svg.append(dot);
  }
  for (const svg of document.querySelectorAll("svg.points")) {
    let points = null;
    const at = (event) => nearest((points ??= pointsOf(svg)), inside(svg, event));
    svg.addEventListener("pointermove", (event) => {
      if (event.pointerType !== "mouse" || pinned) return;
      const point = at(event);
      if (!point) return hide();
      mark(svg, point);
      show(point.row, event.clientX, event.clientY, false);
    });
    svg.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && !pinned && hide());
    svg.addEventListener("click", (event) => {
      const point = at(event);
      if (!point) return hide();
      mark(svg, point);
      const touched = event.pointerType && event.pointerType !== "mouse";
      show(point.row, event.clientX, event.clientY, touched);
      if (!touched) copy(architecture(point.row), "the architecture");
    });
    const rings = [...svg.querySelectorAll(".ring")];
    svg.addEventListener("focusin", (event) => {
      const ring = event.target.closest(".ring");
      if (!ring || !ring.matches(":focus-visible")) return;
      const box = ring.getBoundingClientRect();
      show(+ring.dataset.row, box.right, box.top, false);
    });
    svg.addEventListener("focusout", () => !pinned && hide());
    svg.addEventListener("keydown", (event) => {
      const place = rings.indexOf(event.target);
      if (place < 0) return;
      const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
      if (step && rings[place + step]) {
        event.target.tabIndex = -1;
        rings[place + step].tabIndex = 0;
        rings[place + step].focus();
      } else if (event.key === "Enter" || event.key === " ") copy(architecture(+event.target.dataset.row), "the architecture");
      else return;
      event.preventDefault();
    });
  }

  // Parallel coordinates

  for (const svg of document.querySelectorAll("svg.paths")) {
    const paths = [...svg.querySelectorAll(".path")].map((path) => ({
      path,
      row: +path.dataset.row,
      options: path.dataset.options.split(" "),
      corners: path.getAttribute("d").slice(1).split("L").map((corner) => corner.split(" ").map(Number)),
    }));
    const chosen = new Map();
    function heightAt(corners, x) {
      const after = corners.findIndex((corner) => corner[0] >= x);
      if (after <= 0) return after === 0 ? corners[0][1] : Infinity;
      const [[a, b], [c, d]] = [corners[after - 1], corners[after]];
      return b + ((x - a) / (c - a)) * (d - b);
    }
    function near(event) {
      const at = inside(svg, event);
      let best = null;
      let least = 8 / at.scale;
      for (const one of paths) {
        if (svg.classList.contains("chosen") && !one.path.classList.contains("taken")) continue;
        const away = Math.abs(heightAt(one.corners, at.x) - at.y);
        if (away <= least) [best, least] = [one, away];
      }
      return best;
    }
    function point(event, pin) {
      const one = near(event);
      if (!one) return hide();
      for (const old of svg.querySelectorAll(".pointed")) old.classList.remove("pointed");
      one.path.classList.add("pointed");
      show(one.row, event.clientX, event.clientY, pin);
      return one;
    }
    function choose(option) {
      const { axis, option: value } = option.dataset;
      if (chosen.get(axis) === value) chosen.delete(axis);
      else chosen.set(axis, value);
      for (const other of svg.querySelectorAll(".option")) {
        const on = chosen.get(other.dataset.axis) === other.dataset.option;
        other.classList.toggle("chosen", on);
        other.setAttribute("aria-pressed", String(on));
      }
      svg.classList.toggle("chosen", chosen.size > 0);
      for (const one of paths)
        one.path.classList.toggle("taken", [...chosen].every(([place, wanted]) => one.options[place] === wanted));
    }
    svg.addEventListener("pointermove", (event) => event.pointerType === "mouse" && !pinned && !event.target.closest(".option") && point(event, false));
    svg.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && !pinned && hide());
    svg.addEventListener("click", (event) => {
      const option = event.target.closest(".option");
      if (option) return choose(option);
      const touched = event.pointerType && event.pointerType !== "mouse";
      const one = point(event, touched);
      if (one && !touched) copy(architecture(one.row), "the architecture");
    });
    svg.addEventListener("keydown", (event) => {
      const option = event.target.closest(".option");
      if (!option || (event.key !== "Enter" && event.key !== " ")) return;
      choose(option);
      event.preventDefault();
    });
  }

  // Tables that a click on a heading sorts

  for (const table of document.querySelectorAll("table.sortable")) {
    const headings = [...table.tHead.rows[0].cells];
    headings.forEach((heading, place) => {
      if (!heading.textContent) return;
      heading.tabIndex = 0;
      const sort = () => {
        const down = heading.getAttribute("aria-sort") !== "descending";
        for (const other of headings) other.removeAttribute("aria-sort");
        heading.setAttribute("aria-sort", down ? "descending" : "ascending");
        const key = (row) => row.cells[place].dataset.key ?? row.cells[place].textContent;
        const rows = [...table.tBodies[0].rows].sort((a, b) => {
          const [first, second] = [key(a), key(b)];
          const order = isNaN(first) || isNaN(second) ? first.localeCompare(second) : first - second;
          return down ? -order : order;
        });
        table.tBodies[0].append(...rows);
      };
      heading.addEventListener("click", sort);
      heading.addEventListener("keydown", (event) => event.key === "Enter" && sort());
    });
  }

  // What stands in a <title> is shown as a tip too

  document.addEventListener("pointerover", (event) => {
    const shape = event.target.closest && event.target.closest("[data-tip]");
    if (!shape || pinned) return;
    tip.classList.remove("pinned");
    tip.replaceChildren(element("span", shape.dataset.tip));
    place(event.clientX, event.clientY);
    shape.addEventListener("pointerleave", () => !pinned && hide(), { once: true });
  });
})();
